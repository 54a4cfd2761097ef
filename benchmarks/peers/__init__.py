"""The systems that the comparison measures, each as a durable cluster on this machine."""
