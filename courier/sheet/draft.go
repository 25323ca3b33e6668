package sheet

import (
	"fmt"
	"image/color"
	"strings"

	"emsd/courier"

	"github.com/boombuler/barcode/code128"
	"github.com/signintech/gopdf"
)

// A draft is a document being drawn, in millimetres from the upper left corner. The first failure stays and ends it.
type draft struct {
	pdf     gopdf.GoPdf
	fonts   *Fonts
	used    map[string]bool
	missing []rune
	err     error
}

// A size is a sheet of paper, in millimetres.
type size struct{ w, h float64 }

func newDraft(fonts *Fonts, title string) *draft {
	d := &draft{fonts: fonts, used: map[string]bool{}}
	d.pdf.Start(gopdf.Config{Unit: gopdf.UnitMM, PageSize: *gopdf.PageSizeA4})
	d.pdf.SetInfo(gopdf.PdfInfo{Title: title, Producer: "emsd"})
	d.pdf.SetMargins(0, 0, 0, 0)
	return d
}

func (d *draft) page(s size) {
	d.pdf.AddPageWithOption(gopdf.PageOption{PageSize: &gopdf.Rect{W: s.w, H: s.h}})
}

func (d *draft) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// points are the size of type that stands so many millimetres high.
func points(mm float64) float64 { return mm * 72 / 25.4 }

func (d *draft) use(a *face, height float64) {
	if !d.used[a.family] {
		if err := d.pdf.AddTTFFontFromFontContainer(a.family, &d.fonts.shelf); err != nil {
			d.fail(fmt.Errorf("take the font %s: %w", a.family, err))
			return
		}
		d.used[a.family] = true
	}
	if err := d.pdf.SetFont(a.family, "", points(height)); err != nil {
		d.fail(fmt.Errorf("take the font %s: %w", a.family, err))
	}
}

func (d *draft) runs(text string) []run {
	runs, missing, err := d.fonts.runs(text)
	if err != nil {
		d.fail(err)
	}
	d.missing = append(d.missing, missing...)
	return runs
}

// width measures a text of a height.
func (d *draft) width(text string, height float64) float64 {
	total := 0.0
	for _, r := range d.runs(text) {
		d.use(r.face, height)
		w, err := d.pdf.MeasureTextWidth(r.text)
		if err != nil {
			d.fail(fmt.Errorf("measure a text: %w", err))
		}
		total += w
	}
	return total
}

// text writes one line whose upper edge lies at y.
func (d *draft) text(x, y, height float64, text string) {
	for _, r := range d.runs(text) {
		d.use(r.face, height)
		d.pdf.SetXY(x, y)
		w, err := d.pdf.MeasureTextWidth(r.text)
		if err == nil {
			err = d.pdf.Cell(nil, r.text)
		}
		if err != nil {
			d.fail(fmt.Errorf("write a text: %w", err))
			return
		}
		x += w
	}
}

func (d *draft) textRight(right, y, height float64, text string) {
	d.text(right-d.width(text, height), y, height, text)
}

func (d *draft) textCentre(x, y, w, height float64, text string) {
	d.text(x+(w-d.width(text, height))/2, y, height, text)
}

// paragraph writes a text into a box, on as many lines as it needs, smaller if it must be; what does not fit even so
// fails, for an address that is cut off leads elsewhere. It returns where the next line would begin.
func (d *draft) paragraph(x, y, w, h, height float64, text string) float64 {
	const smallest, lead = 2.4, 1.3
	for ; height >= smallest; height -= 0.2 {
		lines := d.lines(text, w, height)
		if float64(len(lines))*height*lead > h {
			continue
		}
		for _, line := range lines {
			d.text(x, y, height, line)
			y += height * lead
		}
		return y
	}
	d.fail(errTooLong)
	return y
}

var errTooLong = &courier.Conflict{Code: "too_long_to_print", Detail: "姓名或地址过长，单据上印不下，因此不予打印：请使用 EMS 面单，或先更正地址"}

// lines breaks a text at any character, as Chinese is broken; a Latin word or a number stays whole where it can.
func (d *draft) lines(text string, w, height float64) []string {
	var lines []string
	for _, part := range strings.Split(text, "\n") {
		line, width := "", 0.0
		for _, token := range tokens(part) {
			tw := d.width(token, height)
			if width+tw > w && line != "" {
				lines, line, width = append(lines, strings.TrimRight(line, " ")), "", 0
				token = strings.TrimLeft(token, " ")
				tw = d.width(token, height)
			}
			for tw > w && len([]rune(token)) > 1 { // wider than the sheet by itself
				n := len([]rune(token)) - 1
				for n > 1 && d.width(string([]rune(token)[:n]), height) > w {
					n--
				}
				lines = append(lines, string([]rune(token)[:n]))
				token = string([]rune(token)[n:])
				tw = d.width(token, height)
			}
			line, width = line+token, width+tw
		}
		lines = append(lines, line)
	}
	return lines
}

func tokens(text string) []string {
	var out []string
	word := false
	for _, r := range text {
		latin := r < 0x250 && r != ' ' && r != ','
		if n := len(out); latin && word {
			out[n-1] += string(r)
		} else {
			out = append(out, string(r))
		}
		word = latin
	}
	return out
}

func (d *draft) line(x1, y1, x2, y2 float64) {
	d.pdf.SetLineWidth(0.2)
	d.pdf.Line(x1, y1, x2, y2)
}

func (d *draft) box(x, y, w, h float64) {
	d.pdf.SetLineWidth(0.3)
	d.pdf.RectFromUpperLeftWithStyle(x, y, w, h, "D")
}

// quiet is the white space that Code 128 wants on both sides, in modules.
const quiet = 10

// barcode draws Code 128 in bars of whole vectors, the quiet zones inside of w.
func (d *draft) barcode(x, y, w, h float64, content string) {
	code, err := code128.Encode(content)
	if err != nil {
		d.fail(fmt.Errorf("encode a barcode: %w", err))
		return
	}
	n := code.Bounds().Dx()
	module := w / float64(n+2*quiet)
	d.pdf.SetFillColor(0, 0, 0)
	for i := 0; i < n; {
		j := i
		for j < n && code.At(j, 0) == color.Black {
			j++
		}
		if j > i {
			d.pdf.RectFromUpperLeftWithStyle(x+float64(quiet+i)*module, y, float64(j-i)*module, h, "F")
		}
		i = max(j, i+1)
	}
}

// bytes gives the document, unless something of it cannot be printed.
func (d *draft) bytes() ([]byte, error) {
	if len(d.missing) > 0 {
		return nil, glyphFault(d.missing)
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.pdf.GetBytesPdfReturnErr()
}
