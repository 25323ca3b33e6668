package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier"
	"emsd/courier/staff"

	"github.com/google/uuid"
)

func (c *Console) importPages() []page {
	return []page{
		at("GET /console/imports", staff.Import, c.imports),
		at("POST /console/imports", staff.Import, c.upload).taking(intake.MaxUpload + maxForm),
		at("GET /console/imports/template.xlsx", staff.Import, c.importTemplate),
		at("GET /console/imports/{id}", staff.Import, c.importShow),
		at("POST /console/imports/{id}/load", staff.Import, c.importLoad),
		at("POST /console/imports/{id}/discard", staff.Import, c.importDiscard),
		at("POST /console/imports/{id}/bad-rows.xlsx", staff.Import, c.importBadRows),
	}
}

// uploader is what this person may upload: administrators keep the settings, everybody else brings permits.
func uploader(u staff.User) intake.Uploader {
	kinds := []intake.Kind{intake.Permits}
	if u.May(staff.WriteSettings) {
		kinds = []intake.Kind{intake.Stations, intake.Tariffs}
	}
	return intake.Uploader{Name: u.Actor(), Station: u.Station, Kinds: kinds}
}

// importsPage lists what was uploaded of late.
type importsPage struct {
	Uploads  []intake.Upload
	Settings bool // stations and tariffs instead of permits
	Station  string
	MaxMB    int
	Faults   courier.Faults
}

// recentUploads is how many uploads the list shows.
const recentUploads = 30

func (c *Console) imports(v *visit) error { return c.importsWith(v, http.StatusOK, nil) }

func (c *Console) importsWith(v *visit, status int, faults courier.Faults) error {
	recent, err := c.Uploads.Recent(v.Context(), v.User().Actor(), false, recentUploads)
	if err != nil {
		return err
	}
	return v.renderAs(status, "imports", importsPage{recent, v.User().May(staff.WriteSettings), v.User().Station, intake.MaxUpload >> 20, faults})
}

func (c *Console) upload(v *visit) error {
	file, head, err := v.sent("file")
	if errors.Is(err, http.ErrMissingFile) {
		return c.importsWith(v, http.StatusUnprocessableEntity, courier.Faults{{Field: "file", Code: "required", Detail: "请选择要导入的文件"}})
	}
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	id, err := c.Uploads.Add(v.Context(), uploader(v.User()), head.Filename, content)
	if faults, ok := errors.AsType[courier.Faults](err); ok {
		return c.importsWith(v, http.StatusUnprocessableEntity, faults)
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/imports/"+id.String(), "")
}

func (c *Console) importTemplate(v *visit) error {
	var book bytes.Buffer
	if err := intake.WriteTemplate(&book); err != nil {
		return err
	}
	return v.file("import-template.xlsx", xlsxType, book.Bytes())
}

// xlsxType is the media type of a workbook.
const xlsxType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

// importPage is one upload and the first of its bad rows.
type importPage struct {
	intake.Upload
	BadRows []intake.BadRow
	More    int // bad rows that are not shown
}

// shownBadRows is how many bad rows the page shows; all are in the table that can be downloaded.
const shownBadRows = 100

// whileWorking is how often the page of an upload that is being worked on loads itself anew, in seconds; without script.
const whileWorking = "2"

func (c *Console) importShow(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	up, err := c.Uploads.Get(v.Context(), id, v.User().Actor(), false)
	if err != nil {
		return err
	}
	rows, err := c.Uploads.BadRows(v.Context(), id, 0, shownBadRows)
	if err != nil {
		return err
	}
	if up.Working() {
		v.w.Header().Set("Refresh", whileWorking)
	}
	return v.render("import", importPage{up, rows, max(0, up.Summary.Bad-len(rows))})
}

func (c *Console) importLoad(v *visit) error    { return c.importDecide(v, c.Uploads.Load) }
func (c *Console) importDiscard(v *visit) error { return c.importDecide(v, c.Uploads.Discard) }

func (c *Console) importDecide(v *visit, decide func(ctx context.Context, id uuid.UUID, by string) error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if _, err := c.Uploads.Get(v.Context(), id, v.User().Actor(), false); err != nil {
		return err
	}
	if err := decide(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/imports/"+id.String(), "")
}

// importBadRows gives the bad rows in clear to who uploaded them, by POST because it is noted.
func (c *Console) importBadRows(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if _, err := c.Uploads.Get(v.Context(), id, v.User().Actor(), false); err != nil {
		return err
	}
	var book bytes.Buffer
	if err := c.Uploads.WriteBadRows(v.Context(), id, &book); err != nil {
		return err
	}
	if err := c.Uploads.NoteDownload(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.file("bad-rows-"+shortID(id)+".xlsx", xlsxType, book.Bytes())
}

func shortID(id uuid.UUID) string { return id.String()[:8] }
