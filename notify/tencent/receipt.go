package tencent

import (
	"encoding/json"
	"fmt"

	"emsd/courier/vault"
	"emsd/notify"

	"github.com/google/uuid"
)

// A report is one element of the callback for delivery status (B.4).
type report struct {
	Mobile       string `json:"mobile"`
	ReportStatus string `json:"report_status"`
	ErrMsg       string `json:"errmsg"`
	SID          string `json:"sid"`
	Ext          string `json:"ext"` // only where support has switched it on
}

// ReceiptAnswer is what the gateway wants to hear.
const ReceiptAnswer = `{"result":0,"errmsg":"OK"}`

// ParseReceipts reads the body of a callback. An element that cannot be read is kept as a receipt without an attempt, so
// that it is counted; a body that is no list of elements is an error.
func ParseReceipts(body []byte) ([]notify.Receipt, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return nil, fmt.Errorf("read receipts: not a JSON array")
	}
	receipts := make([]notify.Receipt, 0, len(elements))
	for _, e := range elements {
		receipts = append(receipts, readReceipt(e))
	}
	return receipts, nil
}

func readReceipt(element json.RawMessage) notify.Receipt {
	var r report
	if len(element) == 0 || element[0] != '{' || json.Unmarshal(element, &r) != nil {
		return notify.Receipt{Code: "unreadable"}
	}
	receipt := notify.Receipt{ProviderID: r.SID, Success: r.ReportStatus == "SUCCESS", Code: r.ErrMsg}
	if id, err := uuid.Parse(r.Ext); err == nil && len(r.Ext) == len(uuid.UUID{}.String()) {
		receipt.AttemptID = id
	}
	if notify.IsMobile(r.Mobile) {
		receipt.Phone = vault.Conceal(r.Mobile)
	}
	return receipt
}
