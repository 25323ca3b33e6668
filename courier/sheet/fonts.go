package sheet

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"emsd/courier"

	"github.com/signintech/gopdf"
)

// Fonts are TrueType files in the order in which a character is looked for. A file is read when the ones before it lack
// a character: those with the rare ideographs are large, and few names need them.
type Fonts struct {
	files []string

	mu    sync.Mutex
	faces []*face // of files, nil until read
	shelf gopdf.FontContainer
}

// A face is one file that was read.
type face struct {
	family string
	chars  gopdf.SubsetFontObj
}

// NewFonts names the files; nothing is read yet.
func NewFonts(files []string) *Fonts {
	return &Fonts{files: files, faces: make([]*face, len(files))}
}

// Check reads the first file and looks for the others, so that an operator learns of a wrong path at the start.
func (f *Fonts) Check() error {
	if len(f.files) == 0 {
		return errNoFont
	}
	_, err := f.face(0)
	errs := []error{err}
	for _, file := range f.files[1:] {
		_, err := os.Stat(file)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var errNoFont = errors.New("no font is named, so nothing with Chinese characters can be printed")

func (f *Fonts) face(i int) (*face, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faces[i] != nil {
		return f.faces[i], nil
	}
	data, err := os.ReadFile(f.files[i])
	if err != nil {
		return nil, fmt.Errorf("read a font: %w", err)
	}
	a := &face{family: fmt.Sprintf("f%d", i)}
	if err := a.chars.SetTTFData(data); err != nil {
		return nil, fmt.Errorf("read the font %s: %w", f.files[i], err)
	}
	if err := f.shelf.AddTTFFontData(a.family, data); err != nil {
		return nil, fmt.Errorf("read the font %s: %w", f.files[i], err)
	}
	f.faces[i] = a
	return a, nil
}

func (a *face) has(r rune) bool {
	glyph, err := a.chars.CharCodeToGlyphIndex(r)
	return err == nil && glyph != 0 // glyph 0 is the box
}

// find gives the first face that has a character; nil when none has it.
func (f *Fonts) find(r rune) (*face, error) {
	for i := range f.files {
		a, err := f.face(i)
		if err != nil {
			return nil, err
		}
		if a.has(r) {
			return a, nil
		}
	}
	return nil, nil
}

// A run is a piece of text in one face.
type run struct {
	face *face
	text string
}

// runs cuts a text into pieces, and tells the characters that no font has.
func (f *Fonts) runs(text string) (runs []run, missing []rune, err error) {
	for _, r := range text {
		a, err := f.find(r)
		switch n := len(runs); {
		case err != nil:
			return nil, nil, err
		case a == nil:
			missing = append(missing, r)
		case n > 0 && runs[n-1].face == a:
			runs[n-1].text += string(r)
		default:
			runs = append(runs, run{a, string(r)})
		}
	}
	return runs, missing, nil
}

// glyphFault names every character that cannot be printed, each once.
func glyphFault(missing []rune) error {
	slices.Sort(missing)
	var names []string
	for _, r := range slices.Compact(missing) {
		names = append(names, fmt.Sprintf("%c（U+%04X）", r, r))
	}
	return courier.Faults{{Field: "font", Code: "no_glyph", Detail: "现有字体没有这些字，打印出来会是方框，因此不予打印：" + strings.Join(names, "、") +
		"。请使用 EMS 面单，或请管理员在 EMSD_FONT_FILES 中增加含有这些字的字体"}}
}
