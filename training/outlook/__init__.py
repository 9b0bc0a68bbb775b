"""What the thesis' outlook hopes for, each as a small finder that can be measured."""
