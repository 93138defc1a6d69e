r"""What is wrong with a graph, or worth knowing: ``audit(dataset)``."""

from dsom_pyg.audit.report import AuditReport, audit, audit_folder

__all__ = ['audit', 'audit_folder', 'AuditReport']
