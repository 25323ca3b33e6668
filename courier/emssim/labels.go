package emssim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// labelPath is where the label URLs of 010004 point to; the real ones name a bare IP address (dossier section 2.3).
const labelPath = "/oss-jd-prd-psc-no-post/orderInfo/PDFpicture/"

// labelSizes are the paper sizes in PDF points, 1/72 inch.
var labelSizes = map[string][2]float64{
	"129": {76 / 25.4 * 72, 129 / 25.4 * 72},
	"149": {76 / 25.4 * 72, 149 / 25.4 * 72},
	"179": {100 / 25.4 * 72, 179 / 25.4 * 72},
}

// label is 010004.
func (c *Carrier) label(in call) answer {
	f := &fields{m: in.all[0]}
	no := f.must("waybillNo", 20)
	size := f.mustOneOf("type", "129", "149", "179")
	asURL := f.oneOf("getURL", "0", "1") == "1"
	f.oneOf("isReturn", "0", "1")
	if f.fault != "" {
		return refuse(f.fault)
	}
	now := c.cfg.Now()
	c.mu.Lock()
	o := c.orders[no]
	held := o != nil && !o.cancelled && now.Sub(o.at) >= c.cfg.LabelDelay
	c.mu.Unlock()
	if !held {
		return answer{codeQuery, "查询预告失败", ""}
	}
	if asURL {
		file := fmt.Sprintf("%s/%s/%s-%d/%s.pdf", now.In(beijing).Format("20060102"), c.cfg.SenderNo,
			url.PathEscape(o.ref), now.UnixMilli(), uuid.NewString())
		address := "http://" + in.r.Host + labelPath + file + "?waybillNo=" + url.QueryEscape(no) + "&type=" + size
		return success("成功，面单URL有效期为1个月", address)
	}
	return success("成功", base64.StdEncoding.EncodeToString(labelPDF(no, size)))
}

func (c *Carrier) serveLabel(w http.ResponseWriter, r *http.Request) {
	no, size := r.FormValue("waybillNo"), r.FormValue("type")
	c.mu.Lock()
	o := c.orders[no]
	c.mu.Unlock()
	if _, ok := labelSizes[size]; !ok || o == nil || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	writeBody(w, http.StatusOK, "application/pdf", labelPDF(no, size))
}

// labelPDF is a one-page document with the waybill number on it; nothing of the order's people is.
func labelPDF(no, size string) []byte {
	paper := labelSizes[size]
	text := fmt.Sprintf("BT /F1 16 Tf 12 %.0f Td (EMS %s) Tj ET", paper[1]-30, no)
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>", paper[0], paper[1]),
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(text), text),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	offsets := make([]int, len(objects))
	for i, o := range objects {
		offsets[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, at := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
	return b.Bytes()
}

// sortingCode is 010003.
func (c *Carrier) sortingCode(in call) answer {
	f := &fields{m: in.all[0]}
	no := f.must("waybillNo", 20)
	f.mustOneOf("type", "A", "B", "C", "D")
	to := address{prov: f.must("prov", 20), city: f.must("city", 20), county: f.must("county", 20)}
	f.must("address", 200)
	f.text("postCode", 20)
	if f.fault == "" && !knownRegion(to.prov, to.city, to.county) {
		f.fail("prov/city/county", "不是国标全称")
	}
	if f.fault != "" {
		return refuse(f.fault)
	}
	route, mark := routeCode(to)
	return success("成功！", string(render(map[string]string{
		"waybillNo": no, "datoubi": mark, "datoubiCode": mark, "routeCode": route, "consolidationName": mark, "consolidationCode": "",
	})))
}

// routeCode invents a four-part sorting code that depends on the county alone, and its third part, the 大头笔.
func routeCode(to address) (route, mark string) {
	n := hashText(to.prov + to.city + to.county)
	group := fmt.Sprintf("%02d%c", n%90+10, 'A'+rune(n>>8%26))
	mark = fmt.Sprintf("%c%02d", 'A'+rune(n>>16%26), n>>24%100)
	return strings.Join([]string{group, group, mark, fmt.Sprintf("%03d", n>>32%1000)}, "-"), mark
}
