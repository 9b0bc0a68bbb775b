"""Who does what when: tasks, dispatch, attempts, the order of the stages."""
