package console

import (
	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) labelPages() []page {
	return []page{
		at("GET /console/counter/labels", staff.Label, c.labels),
		at("POST /console/counter/labels.pdf", staff.Label, c.labelPrint),
	}
}

// A labelsPage lists the envelopes at the counter, those without a label first.
type labelsPage struct {
	ToPrint []courier.ToPack
	Printed []courier.ToPack
	All     bool // whether the list was cut off
}

func (c *Console) labels(v *visit) error {
	list, err := c.Service.ToPack(v.Context(), mostToPack)
	if err != nil {
		return err
	}
	p := labelsPage{All: len(list) == mostToPack}
	for _, e := range list {
		if e.Printed == 0 && !e.Withdrawn {
			p.ToPrint = append(p.ToPrint, e)
		} else {
			p.Printed = append(p.Printed, e)
		}
	}
	return v.render("counter_labels", p)
}

// labelPrint gives the sheets as one document, to be shown by the browser and printed from there. It is a POST because
// every sheet is counted.
func (c *Console) labelPrint(v *visit) error {
	pdf, err := c.Labels.PrintLabels(v.Context(), courier.PrintRequest{Kind: courier.PrintKind(v.form("kind")), WaybillNos: v.r.PostForm["waybill_no"],
		Reason: v.form("reason")}, c.Press, v.User().Actor())
	if err != nil {
		return err
	}
	return v.document("labels-"+v.c.Clock.Now().In(beijing).Format("20060102-150405")+".pdf", pdf)
}

// document answers with a PDF that the browser shows.
func (v *visit) document(name string, pdf []byte) error {
	v.w.Header().Set("Content-Type", "application/pdf")
	v.w.Header().Set("Content-Disposition", `inline; filename="`+name+`"`)
	_, err := v.w.Write(pdf)
	if err != nil {
		v.c.Log.DebugContext(v.Context(), "a document was not taken to its end", "error", err)
	}
	return nil
}
