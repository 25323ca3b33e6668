package console

import (
	"html/template"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
)

// counterWords are the template functions of the counter, the cases and the fees.
var counterWords = template.FuncMap{
	"billResult": func(r courier.BillResult) string { return known(billWords, r) },
	"differs":    courier.BillResult.Differs,
	"place":      place,
	"disposal":   func(how string) string { return known(disposalWords, how) },
	"document":   func(s string) string { return known(documentWords, s) },
	"documents":  func() []string { return documents },
	"inc":        func(i int) int { return i + 1 },
	"past": func(day, now time.Time) bool {
		return day.Format(time.DateOnly) < now.In(beijing).Format(time.DateOnly)
	},
	"hasCase":  func(id uuid.UUID) bool { return id != uuid.Nil },
	"outcomes": func() []string { return caseOutcomes },
}

var billWords = map[courier.BillResult]string{
	courier.BillMatched: "相符", courier.BillKnown: "先前已核对", courier.BillUnknownWaybill: "查无此运单", courier.BillAmountDiffers: "金额不符",
	courier.BillWeightDiffers: "重量不符", courier.BillCancelled: "已作废仍计费", courier.BillTwice: "重复计费", courier.BillCollect: "到付件计入账单",
	courier.BillMissing: "账单漏列",
}

var disposalWords = map[string]string{courier.SentBack: "已交回制证部门", courier.Destroyed: "已销毁"}

// documents are the papers that prove who picks up a permit, in the order of how often they are shown.
var documents = []string{"resident_id", "temporary_id", "household_book", "police_certificate", "passport", "travel_permit"}

var documentWords = map[string]string{
	"resident_id": "居民身份证", "temporary_id": "临时居民身份证", "household_book": "户口簿", "police_certificate": "公安机关出具的身份证明",
	"passport": "护照", "travel_permit": "港澳台居民来往内地（大陆）通行证",
}

// caseOutcomes are how most cases end; what is particular stands in the explanation.
var caseOutcomes = []string{"已解决", "已联系申请人", "已与 EMS 核实", "EMS 同意更正", "联系不上申请人", "无需处理"}
