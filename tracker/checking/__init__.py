"""`shoal-tracker check`: everything the tracker keeps, held against everything else."""

from tracker.checking.checker import check_tracker
from tracker.checking.report import Report

__all__ = ["Report", "check_tracker"]
