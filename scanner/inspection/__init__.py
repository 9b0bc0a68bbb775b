"""The page that people work in after a scan: stamps, facts, grades, and what the grades say."""
