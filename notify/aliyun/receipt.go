package aliyun

import (
	"encoding/json"
	"fmt"

	"emsd/notify"

	"github.com/google/uuid"
)

// A report is one element of SmsReport (A.8), without what is personal in it.
type report struct {
	Success bool   `json:"success"`
	ErrCode string `json:"err_code"`
	BizID   string `json:"biz_id"`
	OutID   string `json:"out_id"`
}

// ReceiptAnswer is what the gateway wants to hear for a push and for its probe by GET: code must be a number.
const ReceiptAnswer = `{"code":0,"msg":"接收成功"}`

// ParseReceipts reads the body of a receipt push. An element that cannot be read is kept as a receipt without an
// attempt, so that it is counted; a body that is no list of elements is an error.
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
	receipt := notify.Receipt{ProviderID: r.BizID, Success: r.Success, Code: r.ErrCode}
	if id, err := uuid.Parse(r.OutID); err == nil && len(r.OutID) == len(uuid.UUID{}.String()) {
		receipt.AttemptID = id
	}
	return receipt
}
