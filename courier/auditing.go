package courier

import (
	"context"

	"emsd/courier/audit"
)

// AuditEntries lists the audit chain, the newest first.
func (s *Service) AuditEntries(ctx context.Context, f audit.Filter) ([]audit.Listed, error) {
	return audit.List(ctx, s.db, f)
}

// VerifyAudit checks the whole audit chain.
func (s *Service) VerifyAudit(ctx context.Context) (audit.Report, error) {
	return audit.Verify(ctx, s.db)
}
