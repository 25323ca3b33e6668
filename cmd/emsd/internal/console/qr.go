package console

import (
	"fmt"
	"image"
	"image/color"
	"strings"
)

const quiet = 4

// darkSquares turns a picture of black and white modules into the path of the black ones, one run of a row at a time.
func darkSquares(img image.Image) qrCode {
	var b strings.Builder
	r := img.Bounds()
	dark := func(x, y int) bool {
		g := color.GrayModel.Convert(img.At(x, y)).(color.Gray)
		return x < r.Max.X && g.Y < 128
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if !dark(x, y) {
				continue
			}
			from := x
			for x < r.Max.X && dark(x, y) {
				x++
			}
			fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from-r.Min.X+quiet, y-r.Min.Y+quiet, x-from, x-from)
		}
	}
	return qrCode{r.Dx() + 2*quiet, b.String()}
}
