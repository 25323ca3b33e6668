package sheet

import (
	"cmp"

	"emsd/courier"
)

// Paper of the sheets.
var (
	labelPaper   = size{100, 150}
	addressPaper = size{210, 148} // A5 lying
)

// Labels draws our own label for each order, a page each: for envelopes whose label EMS has not given.
func (f *Fonts) Labels(orders []courier.Order) ([]byte, error) {
	d := newDraft(f, "面单")
	for _, o := range orders {
		d.page(labelPaper)
		d.label(o)
	}
	return d.bytes()
}

func (d *draft) label(o courier.Order) {
	const left, width = 6.0, 88.0
	d.box(3, 3, labelPaper.w-6, labelPaper.h-6)
	d.text(left, 6, 6, "EMS 特快专递")
	if o.PaymentMode == 2 {
		d.textRight(left+width, 6, 6, "到付")
	}
	d.textRight(left+width, 13.5, 2.8, "自制面单，EMS 面单无法取得时使用")
	d.barcode(left, 18, width, 20, o.WaybillNo)
	d.textCentre(left, 39, width, 5, o.WaybillNo)
	d.line(3, 47, labelPaper.w-3, 47)
	d.text(left, 49, 3.2, "收件人")
	d.person(left, 54, width, 34, 6, o.Recipient)
	d.line(3, 91, labelPaper.w-3, 91)
	d.text(left, 93, 3.2, "寄件人")
	d.person(left, 97.5, width, 18, 3.4, o.Sender)
	d.line(3, 118, labelPaper.w-3, 118)
	d.text(left, 120, 3.2, "内件："+o.Contents)
	d.text(left, 124.8, 3.2, "订单号："+o.OrderNo)
	if o.Remarks != "" {
		d.paragraph(left, 130, width, 15, 3.2, o.Remarks)
	}
}

// person writes name, phone and address, the first two on a line.
func (d *draft) person(x, y, w, h, height float64, p courier.Party) {
	name := d.paragraph(x, y, w, h/2, height, p.Name.Reveal()+"  "+p.Phone.Reveal())
	d.paragraph(x, name+1, w, y+h-name-1, height*0.8, address(p))
}

func address(p courier.Party) string {
	city := p.City
	if city == p.Province {
		city = ""
	}
	return p.Province + city + p.County + p.Address.Reveal()
}

// Addresses draws an address sheet for each order, in type that is read at arm's length.
func (f *Fonts) Addresses(orders []courier.Order) ([]byte, error) {
	d := newDraft(f, "地址单")
	for _, o := range orders {
		d.page(addressPaper)
		d.text(12, 10, 4, "收件人")
		next := d.paragraph(12, 17, 186, 24, 10, o.Recipient.Name.Reveal()+"  "+o.Recipient.Phone.Reveal())
		d.paragraph(12, next+2, 186, 88-next, 9, address(o.Recipient))
		d.line(12, 94, 198, 94)
		d.text(12, 97, 3.6, "寄件人")
		d.person(12, 102, 80, 36, 4, o.Sender)
		d.barcode(104, 100, 94, 22, o.WaybillNo)
		d.textCentre(104, 124, 94, 5, o.WaybillNo)
		d.textCentre(104, 132, 94, 3.2, cmp.Or(o.OrderNo, " "))
	}
	return d.bytes()
}
