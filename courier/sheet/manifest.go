package sheet

import (
	"fmt"
	"time"
)

// A Manifest is what one courier takes away at a time. It shows waybills and places, and nobody's name but those of the
// two who sign.
type Manifest struct {
	Number   string
	Station  string
	Day      time.Time
	Lines    []ManifestLine
	ClosedAt time.Time // zero: a draft, which is marked so
	Clerk    string
	Courier  string // as the courier gave it
}

// A ManifestLine is one envelope.
type ManifestLine struct {
	WaybillNo string
	OrderNo   string
	Place     string // province, city and county
	Collect   bool   // the recipient pays
}

const (
	manifestRows = 31
	manifestTop  = 53.5
	rowHeight    = 6.6
)

// Manifest draws the list on as many pages as it needs, each with its own count.
func (f *Fonts) Manifest(m Manifest) ([]byte, error) {
	d := newDraft(f, "交接清单 "+m.Number)
	pages := max(1, (len(m.Lines)+manifestRows-1)/manifestRows)
	for p := range pages {
		d.page(size{210, 297})
		d.manifestHead(m, p+1, pages)
		from := p * manifestRows
		lines := m.Lines[from:min(from+manifestRows, len(m.Lines))]
		for i, line := range lines {
			d.manifestLine(manifestTop+float64(i+1)*rowHeight, from+i+1, line)
		}
		y := manifestTop + float64(len(lines)+1)*rowHeight
		d.line(15, y, 195, y)
		d.text(15, y+1.5, 4, fmt.Sprintf("本页 %d 件，共 %d 件", len(lines), len(m.Lines)))
		if p == pages-1 {
			d.manifestFoot(m, y+9)
		}
	}
	return d.bytes()
}

func (d *draft) manifestHead(m Manifest, page, pages int) {
	d.text(15, 12, 7, "居住证邮件交接清单")
	if m.ClosedAt.IsZero() {
		d.text(15, 21, 4, "（未封单，仅供核对）")
	}
	d.barcode(115, 10, 80, 14, m.Number)
	d.textCentre(115, 25, 80, 3.6, m.Number)
	d.text(15, 31, 4, "受理点："+m.Station)
	d.text(15, 37.5, 4, "日期："+m.Day.Format("2006年1月2日"))
	d.textRight(195, 37.5, 4, fmt.Sprintf("第 %d 页，共 %d 页", page, pages))
	d.line(15, 46, 195, 46)
	for _, c := range []struct {
		x    float64
		text string
	}{{15, "序号"}, {30, "运单号"}, {75, "订单号"}, {128, "寄达地"}, {181, "付费"}} {
		d.text(c.x, 48, 3.8, c.text)
	}
	d.line(15, manifestTop, 195, manifestTop)
}

func (d *draft) manifestLine(y float64, n int, line ManifestLine) {
	pay := "寄付"
	if line.Collect {
		pay = "到付"
	}
	y -= 4
	d.text(15, y, 3.8, fmt.Sprint(n))
	d.text(30, y, 3.8, line.WaybillNo)
	d.paragraph(75, y, 51, rowHeight, 3.6, line.OrderNo)
	d.paragraph(128, y, 51, rowHeight, 3.8, line.Place)
	d.text(181, y, 3.8, pay)
}

func (d *draft) manifestFoot(m Manifest, y float64) {
	if m.ClosedAt.IsZero() {
		d.text(15, y, 4, "双方清点：____ 件        经办人：________________        揽投员：________________")
		return
	}
	d.text(15, y, 4, fmt.Sprintf("双方清点一致：%d 件", len(m.Lines)))
	d.text(15, y+7, 4, "经办人："+m.Clerk)
	d.text(95, y+7, 4, "揽投员："+m.Courier)
	d.text(15, y+14, 4, "封单时间："+m.ClosedAt.Format("2006-01-02 15:04"))
	d.text(15, y+21, 4, "经办人签字：________________        揽投员签字：________________")
}
