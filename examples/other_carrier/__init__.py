"""Jobs carried by another engine: Celery, as an example for those who have one already."""
