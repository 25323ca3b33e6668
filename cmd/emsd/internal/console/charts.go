package console

import (
	"fmt"
	"html/template"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// A chart is some series over the same labels, drawn as bars on the server, and told as a table beside the drawing.
type chart struct {
	ID, Title, Desc string
	Head            string // of the labels' column
	Labels          []string
	Full            []string // the labels as the table has them, where the drawing has no room; nil: the same
	Names           []string
	Values          [][]int // one row a name
	Unit            string  // put behind each value: %, 件
	Horizontal      bool
}

// Rows is the table: a label and its values.
func (c chart) Rows() [][]string {
	rows := make([][]string, len(c.Labels))
	for i, label := range c.Labels {
		if c.Full != nil {
			label = c.Full[i]
		}
		rows[i] = []string{label}
		for _, v := range c.Values {
			rows[i] = append(rows[i], strconv.Itoa(v[i])+c.Unit)
		}
	}
	return rows
}

// Empty says that there is nothing to draw.
func (c chart) Empty() bool {
	for _, row := range c.Values {
		for _, v := range row {
			if v != 0 {
				return false
			}
		}
	}
	return true
}

// top is where the axis of values ends: 100 for shares, else a multiple of four, so that every mark on it is a whole number.
func (c chart) top() float64 {
	if c.Unit == "%" {
		return 100
	}
	most := 4
	for _, row := range c.Values {
		for _, v := range row {
			most = max(most, v)
		}
	}
	step := 1
	for most > 4*step {
		step *= 10
		for _, part := range []int{5, 2} {
			if most <= 4*step/part && step%part == 0 {
				step /= part
				break
			}
		}
	}
	return float64(4 * step)
}

// chartColours have 3:1 against white and differ in lightness, so that they can be told apart in print, too.
var chartColours = []charts.Color{charts.ColorFromHex("#0b57a4"), charts.ColorFromHex("#e08a00"), charts.ColorFromHex("#a3161b")}

// SVG draws the chart. The library measures text in a font without Chinese characters and writes styles that the policy of
// our pages refuses; so it draws stand-ins of two Latin letters for each wide character, and what it wrote is turned
// into attributes, with the labels, escaped, in the places of their stand-ins.
func (c chart) SVG() (template.HTML, error) {
	values := make([][]float64, len(c.Values))
	for i, row := range c.Values {
		for _, v := range row {
			values[i] = append(values[i], float64(v))
		}
	}
	labels, names := standIns('b', c.Labels), standIns('d', c.Names)
	opt := charts.NewBarChartOptionWithData(values)
	opt.Theme = charts.GetTheme(charts.ThemeLight).WithSeriesColors(chartColours)
	opt.Horizontal = c.Horizontal
	opt.CategoryAxis.Labels = labels
	opt.CategoryAxis.LabelFontStyle.FontSize = 12
	opt.CategoryAxis.LabelCount = len(labels)
	opt.CategoryAxis.BoundaryGap = charts.Ptr(true)
	opt.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), Max: charts.Ptr(c.top()), LabelCount: 5}}
	opt.Legend.SeriesNames = names
	opt.Legend.FontStyle.FontSize = 13
	opt.ValueFormatter = func(v float64) string { return strconv.Itoa(int(v)) + strings.TrimSuffix(c.Unit, "件") }
	height := 280
	if c.Horizontal {
		height = 90 + 26*len(c.Labels)*max(1, len(c.Values)/2)
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 640, Height: height})
	if err := p.BarChart(opt); err != nil {
		return "", fmt.Errorf("draw chart %s: %w", c.ID, err)
	}
	drawn, err := p.Bytes()
	if err != nil {
		return "", fmt.Errorf("draw chart %s: %w", c.ID, err)
	}
	return c.dress(string(drawn), append(labels, names...), append(append([]string(nil), c.Labels...), c.Names...)), nil
}

var (
	styleAttribute = regexp.MustCompile(` style="([^"]*)"`)
	fontFamily     = regexp.MustCompile(`font-family:[^;"]*;?`)
)

// dress puts title, description and labels into a drawing.
func (c chart) dress(svg string, standIns, labels []string) template.HTML {
	svg = styleAttribute.ReplaceAllStringFunc(svg, func(s string) string {
		var b strings.Builder
		for _, rule := range strings.Split(fontFamily.ReplaceAllString(s[len(` style="`):len(s)-1], ""), ";") {
			if name, value, ok := strings.Cut(rule, ":"); ok {
				fmt.Fprintf(&b, ` %s="%s"`, strings.TrimSpace(name), strings.TrimSpace(value))
			}
		}
		return b.String()
	})
	svg = strings.NewReplacer(` xmlns="http://www.w3.org/2000/svg"`, "", ` xmlns:xlink="http://www.w3.org/1999/xlink"`, "").Replace(svg)
	for i, s := range standIns {
		svg = strings.ReplaceAll(svg, ">"+s+"</text>", ">"+template.HTMLEscapeString(labels[i])+"</text>")
	}
	head := fmt.Sprintf(`<svg class="chart" role="img" aria-labelledby="%s-title %s-desc"`, c.ID, c.ID)
	text := fmt.Sprintf(`<title id="%s-title">%s</title><desc id="%s-desc">%s</desc>`, c.ID, template.HTMLEscapeString(c.Title), c.ID, template.HTMLEscapeString(c.Desc))
	svg = strings.Replace(svg, "<svg", head, 1)
	return template.HTML(strings.Replace(svg, ">", ">"+text, 1)) // #nosec: made here, every label escaped
}

// standIns gives each label a text of Latin letters that is as wide and unlike every other; kind keeps two lists apart.
func standIns(kind byte, labels []string) []string {
	list := make([]string, len(labels))
	for i, label := range labels {
		width := 0
		for _, r := range label {
			if width++; r > 0x2e7f {
				width++
			}
		}
		// The number of the label in letters that are all about as wide, after the letter of its list.
		b := []byte{kind}
		for n := i; n > 0 || len(b) < max(4, width); n /= 4 {
			b = append(b, "hnpu"[n%4])
		}
		list[i] = string(b)
	}
	return list
}
