package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// MaxUpload bounds a file that a clerk uploads, in bytes; larger ones are for the command line.
const MaxUpload = 20 << 20

// uploadLease is how long a claimed upload belongs to one process; every chunk of rows renews it.
const uploadLease = 2 * time.Minute

// maxTries bounds how often work on an upload is begun anew after its process ended in the middle.
const maxTries = 3

// States of an upload.
const (
	Checking  = "checking"  // every row is looked at, nothing is changed
	Checked   = "checked"   // waits for the clerk
	Loading   = "loading"   // good rows are loaded
	Loaded    = "loaded"    // done; its bad rows can be had
	Broken    = "broken"    // not a table that can be read
	Discarded = "discarded" // the clerk did not want it
)

// An Uploader is who uploads a file, and what it may hold.
type Uploader struct {
	Name    string
	Station string // the only one whose permits may be loaded; empty: all
	Kinds   []Kind
}

// An Upload is a file that a clerk has uploaded, and how far the work on it has come.
type Upload struct {
	ID         uuid.UUID
	By         string
	At         time.Time
	State      string
	Name       vault.Secret
	Read       int64
	Total      int64
	Summary    Summary
	Headings   []string
	Fault      string // of the file as a whole, plain Chinese
	FinishedAt time.Time
}

// Percent tells how much of the file has been read.
func (u Upload) Percent() int {
	if u.Total <= 0 {
		return 0
	}
	return int(min(u.Read*100/u.Total, 100))
}

// Working reports whether somebody is at work on it.
func (u Upload) Working() bool { return u.State == Checking || u.State == Loading }

// A BadRow is a row that was not loaded, with its cells by heading.
type BadRow struct {
	Number int               `json:"number"`
	Cells  map[string]string `json:"cells"`
	Faults []Fault           `json:"faults"`
}

// Uploads keeps files from clerks and works on them in rounds.
type Uploads struct {
	db      *sqlx.DB
	vault   *vault.Vault
	service Taker
	clock   courier.Clock
	log     *slog.Logger
}

// NewUploads returns Uploads; any number may run.
func NewUploads(db *sqlx.DB, v *vault.Vault, service Taker, clock courier.Clock, log *slog.Logger) *Uploads {
	return &Uploads{db, v, service, clock, log}
}

// Add keeps a file to be checked. What it holds is found out by the round.
func (u *Uploads) Add(ctx context.Context, by Uploader, name string, content []byte) (uuid.UUID, error) {
	name = filepath.Base(strings.ReplaceAll(name, `\`, "/"))
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case len(content) == 0:
		return uuid.Nil, courier.Faults{{Field: "file", Code: "required", Detail: "请选择要导入的文件"}}
	case len(content) > MaxUpload:
		return uuid.Nil, courier.Faults{{Field: "file", Code: "too_large", Detail: fmt.Sprintf("文件超过 %d MB，请拆分后分别导入", MaxUpload>>20)}}
	case ext != ".xlsx" && ext != ".csv":
		return uuid.Nil, courier.Faults{{Field: "file", Code: "format", Detail: "请选择 .xlsx 或 .csv 文件（旧的 .xls 文件请另存为 .xlsx）"}}
	}
	id, now := uuid.Must(uuid.NewV7()), u.clock.Now()
	err := courier.InTx(ctx, u.db, func(tx *sqlx.Tx) error {
		if err := insertUpload(ctx, tx, id, by, now, u.vault.Seal(vault.ColumnUploadName, id, name), u.vault.SealBytes(vault.ColumnUploadFile, id, content)); err != nil {
			return err
		}
		if err := courier.Wake(ctx, tx, courier.WakeUploads); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by.Name, Action: "upload.add", Object: id.String()})
	})
	return id, err
}

// Get gives an upload; one of somebody else is not found unless all is true.
func (u *Uploads) Get(ctx context.Context, id uuid.UUID, by string, all bool) (Upload, error) {
	row, err := readUpload(ctx, u.db, id)
	if err != nil {
		return Upload{}, err
	}
	if !all && row.By != by {
		return Upload{}, courier.ErrNotFound
	}
	return u.open(row)
}

// Recent lists the newest uploads, of one person or of all.
func (u *Uploads) Recent(ctx context.Context, by string, all bool, limit int) ([]Upload, error) {
	if all {
		by = ""
	}
	rows, err := recentUploads(ctx, u.db, by, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Upload, len(rows))
	for i, r := range rows {
		if out[i], err = u.open(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (u *Uploads) open(r uploadRow) (Upload, error) {
	name, err := u.vault.Unseal(vault.ColumnUploadName, r.ID, r.NameSealed)
	if err != nil {
		return Upload{}, err
	}
	return Upload{ID: r.ID, By: r.By, At: r.At, State: r.State, Name: name, Read: r.Read, Total: r.Total, Headings: r.Headings, Fault: r.Fault, FinishedAt: r.FinishedAt.Time,
		Summary: Summary{Kind: Kind(r.Kind), Rows: r.Rows, Created: r.Created, Existing: r.Existing, Refused: r.Refused, Payments: r.Payments, Bad: r.Bad,
			DryRun: r.State == Checking || r.State == Checked}}, nil
}

// BadRows gives up to limit bad rows behind a number.
func (u *Uploads) BadRows(ctx context.Context, id uuid.UUID, after, limit int) ([]BadRow, error) {
	sealed, err := readUploadRows(ctx, u.db, id, after, limit)
	if err != nil {
		return nil, err
	}
	rows := make([]BadRow, len(sealed))
	for i, s := range sealed {
		plain, err := u.vault.UnsealBytes(vault.ColumnUploadRow, id, s)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(plain, &rows[i]); err != nil {
			return nil, fmt.Errorf("read a bad row of upload %s: %w", id, err)
		}
	}
	return rows, nil
}

// Load has the good rows of a checked upload loaded.
func (u *Uploads) Load(ctx context.Context, id uuid.UUID, by string) error {
	return u.move(ctx, id, by, Checked, Loading, "upload.load")
}

// Discard drops a checked upload.
func (u *Uploads) Discard(ctx context.Context, id uuid.UUID, by string) error {
	return u.move(ctx, id, by, Checked, Discarded, "upload.discard")
}

// move lets the clerk who uploaded the file decide what becomes of it.
func (u *Uploads) move(ctx context.Context, id uuid.UUID, by, from, to, action string) error {
	now := u.clock.Now()
	return courier.InTx(ctx, u.db, func(tx *sqlx.Tx) error {
		moved, err := moveUpload(ctx, tx, id, by, from, to, now)
		if err != nil {
			return err
		}
		if !moved {
			return &courier.Conflict{Code: "upload_state", Detail: "该文件的状态已变化，或不是您上传的，请刷新页面"}
		}
		if err := courier.Wake(ctx, tx, courier.WakeUploads); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: action, Object: id.String()})
	})
}

// NoteDownload records that the bad rows were taken out in clear.
func (u *Uploads) NoteDownload(ctx context.Context, id uuid.UUID, by string) error {
	return courier.InTx(ctx, u.db, func(tx *sqlx.Tx) error {
		return audit.Append(ctx, tx, audit.Entry{At: u.clock.Now(), Actor: by, Action: "upload.bad_rows", Object: id.String()})
	})
}

// Purge deletes uploads from before a time.
func (u *Uploads) Purge(ctx context.Context, before time.Time) error {
	return purgeUploads(ctx, u.db, before)
}

// Round works on every upload that waits. One that its process left half done is begun anew: loading a row again
// changes nothing.
func (u *Uploads) Round(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		wall := u.clock.Wall()
		row, err := claimUpload(ctx, u.db, wall, wall.Add(uploadLease))
		if errors.Is(err, courier.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("claim an upload: %w", err)
		}
		if err := u.work(ctx, row); err != nil {
			return fmt.Errorf("upload %s: %w", row.ID, err)
		}
	}
}

// work checks or loads one upload to its end.
func (u *Uploads) work(ctx context.Context, row uploadRow) error {
	if row.Tries > maxTries {
		return finishUpload(ctx, u.db, row.ID, row.State, Broken, "文件多次无法处理，请联系运维人员", nil, u.clock.Now())
	}
	content, err := u.vault.UnsealBytes(vault.ColumnUploadFile, row.ID, row.FileSealed)
	if err != nil {
		return err
	}
	name, err := u.vault.Unseal(vault.ColumnUploadName, row.ID, row.NameSealed)
	if err != nil {
		return err
	}
	if err := dropUploadRows(ctx, u.db, row.ID); err != nil {
		return err
	}
	p := &uploadWork{Uploads: u, row: row}
	sum, err := p.load(ctx, name.Reveal(), content)
	next := map[string]string{Checking: Checked, Loading: Loaded}[row.State]
	var fault string
	if f, ok := errors.AsType[*FileFault](err); ok {
		next, fault, err, p.headings = Broken, f.Chinese, nil, nil
	}
	if err != nil {
		return err
	}
	if err := p.write(ctx, p.read, p.total, sum); err != nil {
		return err
	}
	u.log.Info("an uploaded file was worked through", "upload", row.ID.String(), "state", next, "kind", string(sum.Kind), "rows", sum.Rows, "bad", sum.Bad)
	return finishUpload(ctx, u.db, row.ID, row.State, next, fault, p.headings, u.clock.Now())
}

// An uploadWork is one pass over one upload.
type uploadWork struct {
	*Uploads
	row         uploadRow
	headings    []string
	bad         []BadRow
	read, total int64
}

// forbidden is a table of a kind that its uploader may not load.
var forbidden = &FileFault{"this kind of table may not be uploaded by this person", "您没有导入这类表格的权限：受理点和资费由管理员维护"}

func (p *uploadWork) load(ctx context.Context, name string, content []byte) (Summary, error) {
	rows, err := Open(name, memoryFile{bytes.NewReader(content)}, int64(len(content)))
	if err != nil {
		return Summary{}, err
	}
	defer rows.Close()
	p.headings = rows.Headings()
	loader := &Loader{Service: p.service, By: p.row.By, DryRun: p.row.State == Checking, Station: p.row.Station,
		May: func(k Kind) error {
			if !slices.Contains(p.row.Kinds, string(k)) {
				return forbidden
			}
			return nil
		},
		Bad: func(r Row, faults []Fault) error {
			p.bad = append(p.bad, BadRow{r.Number, r.Values, faults})
			return nil
		},
		Progress: func(read, total int64, sum Summary) error {
			p.read, p.total = read, total
			return p.write(ctx, read, total, sum)
		}}
	return loader.Load(ctx, rows)
}

// write keeps the bad rows so far and how far it has come, and renews the lease.
func (p *uploadWork) write(ctx context.Context, read, total int64, sum Summary) error {
	numbers, sealed := make([]int64, len(p.bad)), make([][]byte, len(p.bad))
	for i, b := range p.bad {
		plain, err := json.Marshal(b)
		if err != nil {
			return err
		}
		numbers[i], sealed[i] = int64(b.Number), p.vault.SealBytes(vault.ColumnUploadRow, p.row.ID, plain)
	}
	p.bad = nil
	return courier.InTx(ctx, p.db, func(tx *sqlx.Tx) error {
		if err := insertUploadRows(ctx, tx, p.row.ID, numbers, sealed); err != nil {
			return err
		}
		return progressUpload(ctx, tx, p.row.ID, read, total, sum, p.clock.Wall().Add(uploadLease))
	})
}

// A memoryFile is a file's content.
type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }
