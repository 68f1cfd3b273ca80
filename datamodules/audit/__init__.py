"""Leak audit: what could a model score without knowing the user?

A benchmark of candidate lists leaks where the list itself gives the target away. Published LastFM files
shuffle and sample each list with the target's id as the seed: a rule that has learned only where each item
stood as a target ranks the target first in more than half of the test rows, where chance is one in twenty.
"""

from datamodules.audit.redraw import redrawn, reshuffled
from datamodules.audit.report import AuditReport, audit, quick_audit
from datamodules.audit.rows import AuditData, AuditSplit

__all__ = ["AuditData", "AuditReport", "AuditSplit", "audit", "quick_audit", "redrawn", "reshuffled"]
