package sheet

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/signintech/gopdf"
)

// Join makes one document of several, page by page, each on paper of its own size. One alone comes back as it is.
func (*Fonts) Join(documents [][]byte) ([]byte, error) {
	if len(documents) == 1 {
		return documents[0], nil
	}
	var pdf gopdf.GoPdf
	pdf.Start(gopdf.Config{Unit: gopdf.UnitPT, PageSize: *gopdf.PageSizeA4})
	// The importer knows a document by the address of its reader, so that all of them must stay alive until the end:
	// otherwise another one might lie at the same address and its label would be taken for this one.
	sources := make([]io.ReadSeeker, len(documents))
	for i, doc := range documents {
		sources[i] = bytes.NewReader(doc)
		if err := appendDocument(&pdf, &sources[i]); err != nil {
			return nil, &Unjoinable{i, err}
		}
	}
	return pdf.GetBytesPdfReturnErr()
}

// Unjoinable names the document that cannot be put together with others.
type Unjoinable struct {
	Index int
	Err   error
}

func (e *Unjoinable) Error() string { return fmt.Sprintf("document %d: %v", e.Index, e.Err) }

func (e *Unjoinable) Unwrap() error { return e.Err }

func appendDocument(pdf *gopdf.GoPdf, source *io.ReadSeeker) (err error) {
	defer func() { // the importer panics on what it cannot read
		if p := recover(); p != nil {
			err = errors.New("a PDF of a kind that cannot be put together with others")
		}
	}()
	sizes := pdf.GetStreamPageSizes(source)
	if len(sizes) == 0 {
		return errors.New("a PDF without pages")
	}
	for n := 1; n <= len(sizes); n++ {
		box, ok := sizes[n]["/MediaBox"]
		if !ok {
			return errors.New("a PDF whose pages have no size")
		}
		pdf.AddPageWithOption(gopdf.PageOption{PageSize: &gopdf.Rect{W: box["w"], H: box["h"]}})
		template := pdf.ImportPageStream(source, n, "/MediaBox")
		pdf.UseImportedTemplate(template, 0, 0, box["w"], box["h"])
	}
	return nil
}
