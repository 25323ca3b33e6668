package console

import (
	"strconv"

	"emsd/courier/audit"
	"emsd/courier/staff"
)

func (c *Console) auditPages() []page {
	return []page{
		at("GET /console/audit", staff.ReadAudit, c.audit),
		at("POST /console/audit/verify", staff.VerifyAudit, c.auditVerify),
	}
}

// auditPage is a page of the chain, and what a check of it has found.
type auditPage struct {
	Entries []audit.Listed
	Filter  audit.Filter
	Next    int64 // number to go on before; 0: the end
	Report  *audit.Report
}

// auditPageSize is how many entries a page shows.
const auditPageSize = 50

func (c *Console) audit(v *visit) error {
	before, err := strconv.ParseInt(v.form("before"), 10, 64)
	if err != nil {
		before = 0
	}
	return c.auditWith(v, audit.Filter{Actor: v.form("actor"), Action: v.form("action"), Object: v.form("object"), Before: before, Limit: auditPageSize}, nil)
}

func (c *Console) auditWith(v *visit, f audit.Filter, report *audit.Report) error {
	entries, err := c.Service.AuditEntries(v.Context(), f)
	if err != nil {
		return err
	}
	p := auditPage{Entries: entries, Filter: f, Report: report}
	if len(entries) == f.Limit {
		p.Next = entries[len(entries)-1].ID
	}
	return v.render("audit", p)
}

// auditVerify checks the whole chain. An auditor compares the end that it names with one that was noted before.
func (c *Console) auditVerify(v *visit) error {
	report, err := c.Service.VerifyAudit(v.Context())
	if err != nil {
		return err
	}
	return c.auditWith(v, audit.Filter{Limit: auditPageSize}, &report)
}
