package sheet

import (
	"image"
	"testing"
)

// widths are the 107 patterns of Code 128 by value, bars and spaces in turn (ISO/IEC 15417): the tests read a barcode
// without the library that drew it.
var widths = [...]string{
	"212222", "222122", "222221", "121223", "121322", "131222", "122213", "122312", "132212", "221213", "221312", "231212", "112232", "122132", "122231",
	"113222", "123122", "123221", "223211", "221132", "221231", "213212", "223112", "312131", "311222", "321122", "321221", "312212", "322112", "322211",
	"212123", "212321", "232121", "111323", "131123", "131321", "112313", "132113", "132311", "211313", "231113", "231311", "112133", "112331", "132131",
	"113123", "113321", "133121", "313121", "211331", "231131", "213113", "213311", "213131", "311123", "311321", "331121", "312113", "312311", "332111",
	"314111", "221411", "431111", "111224", "111422", "121124", "121421", "141122", "141221", "112214", "112412", "122114", "122411", "142112", "142211",
	"241211", "221114", "413111", "241112", "134111", "111242", "121142", "121241", "114212", "124112", "124211", "411212", "421112", "421211", "212141",
	"214121", "412121", "111143", "111341", "131141", "114113", "114311", "411113", "411311", "113141", "114131", "311141", "411131", "211412", "211214",
	"211232", "233111",
}

const (
	codeC, codeB, codeA        = 99, 100, 101
	startA, startB, startC     = 103, 104, 105
	stopPattern, stopBar       = 106, "2"
	printableFirst, pairsFirst = 32, 100
)

func black(p image.Image, x, y int) bool {
	r, g, b, _ := p.At(x, y).RGBA()
	return r+g+b < 3*0x8000
}

// scanAnywhere moves a line down the picture until it reads a barcode, as a hand with a scanner does.
func scanAnywhere(p image.Image) string {
	for y := p.Bounds().Min.Y; y < p.Bounds().Max.Y; y += 3 {
		if text, ok := scanLine(p, y); ok {
			return text
		}
	}
	return ""
}

// scanLine reads the runs of one line: from every black run it tries to read a start pattern and what follows.
func scanLine(p image.Image, y int) (string, bool) {
	var runs []int
	var dark []bool
	b := p.Bounds()
	for x := b.Min.X; x < b.Max.X; x++ {
		if d := black(p, x, y); len(runs) == 0 || dark[len(dark)-1] != d {
			runs, dark = append(runs, 1), append(dark, d)
		} else {
			runs[len(runs)-1]++
		}
	}
	for i := range runs {
		if dark[i] {
			if text, ok := decode(runs[i:]); ok {
				return text, true
			}
		}
	}
	return "", false
}

// decode reads symbols of six runs until the stop pattern, and checks the checksum.
func decode(runs []int) (string, bool) {
	var values []int
	for {
		if len(runs) < 6 {
			return "", false
		}
		v := symbol(runs[:6])
		runs = runs[6:]
		switch {
		case v < 0, len(values) == 0 && v != startA && v != startB && v != startC:
			return "", false
		case v == stopPattern:
			return readValues(values)
		}
		values = append(values, v)
	}
}

// symbol finds the pattern that six runs are nearest to; -1 when they are near none.
func symbol(runs []int) int {
	total := 0
	for _, n := range runs {
		total += n
	}
	module := float64(total) / 11
	for v, pattern := range widths {
		fits := true
		for i, n := range runs {
			want := float64(pattern[i] - '0')
			if d := float64(n)/module - want; d > 0.5 || d < -0.5 {
				fits = false
				break
			}
		}
		if fits {
			return v
		}
	}
	return -1
}

func readValues(values []int) (string, bool) {
	if len(values) < 3 {
		return "", false
	}
	sum := values[0]
	body := values[1 : len(values)-1]
	for i, v := range body {
		sum += (i + 1) * v
	}
	if sum%103 != values[len(values)-1] {
		return "", false
	}
	set := map[int]int{startA: codeA, startB: codeB, startC: codeC}[values[0]]
	text := ""
	for _, v := range body {
		switch {
		case v == codeA || v == codeB && set != codeB || v == codeC && set != codeC:
			set = v
		case set == codeC && v < pairsFirst:
			text += string(rune('0'+v/10)) + string(rune('0'+v%10))
		case set != codeC && v < 64 || set == codeB && v < 95:
			text += string(rune(printableFirst + v))
		default:
			return "", false
		}
	}
	return text, true
}

func TestTheScannerReadsAKnownBarcode(t *testing.T) {
	t.Parallel()
	// Start B, H, i, checksum 8 (104 + 1·40 + 2·73 = 290, 290 mod 103 = 84), stop.
	line := widths[startB] + widths[40] + widths[73] + widths[84] + widths[stopPattern] + stopBar
	var runs []int
	for _, c := range line {
		runs = append(runs, int(c-'0')*3)
	}
	if text, ok := decode(runs); !ok || text != "Hi" {
		t.Errorf("read %q, %t, want Hi", text, ok)
	}
	runs[8]++
	runs[7] += 3
	if text, ok := decode(runs); ok {
		t.Errorf("a spoilt barcode reads %q", text)
	}
}
