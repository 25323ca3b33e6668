package console

import (
	"strconv"

	"emsd/courier"
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

// auditFields name what an entry of the chain says beside who did what to what.
var auditFields = map[string]string{
	"reason": "原因", "why": "原因", "note": "说明", "text": "说明", "source": "来源", "address": "来源地址", "name": "名称", "role": "角色", "station": "受理点", "from": "从", "to": "到",
	"kind": "类别", "number": "编号", "waybill_no": "运单号", "transaction_no": "交易号", "amount_fen": "金额（分）", "rows": "行数", "lines": "行数", "line": "行", "bad_rows": "问题行",
	"recipients": "收件人信息", "status": "状态", "rule": "规定", "scopes": "权限", "outcome": "结果", "result": "结果", "method": "方式", "shelf": "架位", "who": "领取人", "id_document": "查验证件",
	"count": "件数", "month": "月份", "minutes": "分钟", "nth": "第几次", "permit_no": "证件编号", "proposed_by": "提出人", "valid_from": "生效", "meaning": "含义", "gateway": "短信网关",
	"created": "新增", "existing": "已有", "refused": "按规定不予寄递", "faulty": "有问题", "paid": "已付费", "host": "接收地址", "types": "事件类型", "ordered": "按序推送",
	"live_permit": "已有在办寄递", "picked_up": "已领取", "at": "生效", "operated_by": "管理单位", "first_fen": "首重资费（分）", "former_until": "旧的有效至", "sentence": "说明",
}

// auditValue shows a value by its word where it has one.
func auditValue(field, value string) string {
	switch field {
	case "role":
		return known(roleWords, staff.Role(value))
	case "source":
		return known(sourceWords, value)
	case "ordered":
		return known(map[string]string{"true": "是", "false": "否"}, value)
	case "recipients":
		return known(map[string]string{"masked": "遮盖", "clear": "不遮盖"}, value)
	case "status", "from", "to": // the ends of a range, or what a delivery became
		return known(statusWords, courier.Status(value))
	}
	return value
}
