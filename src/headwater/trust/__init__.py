"""The trust room: models measured, graded by a published policy, and reported with intervals and evidence."""
