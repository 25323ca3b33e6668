package ems

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
)

// Label fetches the label of an order as PDF (010004). errors.Is(err, courier.ErrNoOrder): EMS holds no order under the
// number, which is also how a label looks in the first seconds after its order (§2.3).
func (c *Client) Label(ctx context.Context, waybillNo string) ([]byte, error) {
	if err := checkCode(apiLabel, "waybillNo", waybillNo, 20); err != nil {
		return nil, c.refuse(err)
	}
	message := marshal(struct {
		WaybillNo string `json:"waybillNo"`
		Type      string `json:"type"`
	}{waybillNo, c.cfg.LabelType})

	var pdf []byte
	err := c.ask(ctx, apiLabel, message, nil, func(a *answer) (err error) {
		pdf, err = readLabel(a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return pdf, nil
}

// The document prints a raw PDF in a JSON string where its prose says base64: both are taken.
func readLabel(a *answer) ([]byte, error) {
	body := a.bodyText()
	if pdf := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")); bytes.HasPrefix(pdf, pdfHead) {
		return pdf, checkPDF(pdf)
	}
	coded := bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' || r == '\t' || r == '=' {
			return -1
		}
		return r
	}, body)
	pdf, err := base64.RawStdEncoding.AppendDecode(nil, coded)
	if err != nil {
		return nil, errors.New("the label is neither base64 nor a PDF")
	}
	return pdf, checkPDF(pdf)
}

var pdfHead = []byte("%PDF-")

// Bounds of a label's size: the shortest PDF that a printer takes has some hundred bytes.
const smallestPDF, largestPDF = 100, 5 << 20

// checkPDF tells a whole PDF from an error page and from one that was cut off.
func checkPDF(b []byte) error {
	switch {
	case len(b) < smallestPDF || len(b) > largestPDF:
		return fmt.Errorf("the label has %d bytes, which no label has", len(b))
	case !bytes.HasPrefix(b, pdfHead):
		return errors.New("the label is not a PDF")
	case !bytes.Contains(b[max(0, len(b)-1024):], []byte("%%EOF")):
		return errors.New("the label is a PDF without its end")
	}
	return nil
}
