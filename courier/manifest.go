package courier

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Manifest lists the envelopes that go with one courier. Once closed it is what both sides signed, and never changes.
type Manifest struct {
	ID          uuid.UUID
	StationCode string
	Station     string // its name
	Day         time.Time
	Number      string
	OpenedAt    time.Time
	OpenedBy    string
	Count       int          // of envelopes, on which both sides agreed; of those on it while it is open
	Courier     vault.Secret // the name that the courier gave; empty while it is open
	ClosedAt    time.Time    // zero while it is open
	ClosedBy    string
	Items       []ManifestItem // only where one manifest is read
}

// Closed reports whether both sides have signed.
func (m Manifest) Closed() bool { return !m.ClosedAt.IsZero() }

// A ManifestItem is one envelope on a manifest.
type ManifestItem struct {
	DeliveryID    uuid.UUID `db:"delivery_id"`
	WaybillNo     string    `db:"waybill_no"`
	OrderNo       string    `db:"order_no"`
	Province      string    `db:"province"`
	City          string    `db:"city"`
	County        string    `db:"county"`
	PaymentMethod string    `db:"payment_method"`
	AddedAt       time.Time `db:"added_at"`
	AddedBy       string    `db:"added_by"`
}

// An AddOutcome says what became of an envelope scanned for a manifest.
type AddOutcome string

// The outcomes beyond those of a hand-over, which stand for the same here.
const (
	AddAdded        AddOutcome = "added"
	AddOnThis       AddOutcome = "on_this"       // scanned before
	AddOnAnother    AddOutcome = "on_another"    // it stands on another manifest
	AddNotPacked    AddOutcome = "not_packed"    // no pack check of permit and label yet
	AddOtherStation AddOutcome = "other_station" // handled elsewhere
)

// An Added is the outcome of one scan, with the other manifest's number where there is one.
type Added struct {
	Outcome   AddOutcome
	WaybillNo string
	Other     string
}

// OpenManifest begins a list for a courier; an open one on which nothing stands yet is used first. A person of one
// station opens one for that station only.
func (s *Service) OpenManifest(ctx context.Context, station, by string) (Manifest, error) {
	if own := StationOf(ctx); own != "" && station != own {
		return Manifest{}, ErrNotFound
	}
	var id uuid.UUID
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := lockStation(ctx, tx, station); err != nil {
			return err
		}
		now := s.clock.Now()
		empty, err := emptyManifest(ctx, tx, station, day(now.In(beijing)))
		if err != nil || empty != uuid.Nil {
			id = empty
			return err
		}
		id = uuid.Must(uuid.NewV7())
		number, err := insertManifest(ctx, tx, id, station, now, by)
		if err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "manifest.open", Object: id.String(), Detail: map[string]string{"number": number}})
	})
	if err != nil {
		return Manifest{}, err
	}
	return s.Manifest(ctx, id)
}

// Manifest reads one with its envelopes.
func (s *Service) Manifest(ctx context.Context, id uuid.UUID) (Manifest, error) {
	row, err := readManifest(ctx, s.q(), id)
	if err != nil {
		return Manifest{}, err
	}
	m, err := row.manifest(s.vault)
	if err != nil {
		return Manifest{}, err
	}
	m.Items, err = manifestItems(ctx, s.q(), id)
	return m, err
}

// Manifests lists the last ones, the newest first.
func (s *Service) Manifests(ctx context.Context, limit int) ([]Manifest, error) {
	rows, err := listManifests(ctx, s.q(), pageLimit(limit))
	if err != nil {
		return nil, err
	}
	all := make([]Manifest, len(rows))
	for i := range rows {
		if all[i], err = rows[i].manifest(s.vault); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var errManifestClosed = &Conflict{"manifest_closed", "该交接清单已封单，不能更改；请另开一张"}

// AddToManifest puts the envelope of a scanned waybill on a list, unless something speaks against its leaving.
func (s *Service) AddToManifest(ctx context.Context, id uuid.UUID, waybillNo, by string) (added Added, err error) {
	added = Added{Outcome: AddOutcome(HandOverUnknown), WaybillNo: normaliseNo(waybillNo)}
	if added.WaybillNo == "" {
		return added, Faults{{"waybill_no", "required", "请扫描面单上的运单号"}}
	}
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		m, err := lockManifest(ctx, tx, id)
		if err != nil {
			return err
		}
		if m.ClosedAt.Valid {
			return errManifestClosed
		}
		rows, err := lockByWaybill(ctx, tx, []string{added.WaybillNo})
		if err != nil {
			return err
		}
		row := rows[added.WaybillNo]
		if row == nil {
			return nil
		}
		now := s.clock.Now()
		if added.Outcome, added.Other, err = addable(ctx, tx, m, row, now); err != nil || added.Outcome != AddAdded {
			return err
		}
		if err := insertManifestItem(ctx, tx, id, row, now, by); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "manifest.add", Object: row.ID.String(), Detail: map[string]string{"number": m.Number}})
	})
	return added, err
}

// addable says whether an envelope may go with a manifest, and the number of the one that it stands on.
func addable(ctx context.Context, tx *sqlx.Tx, m *manifestRow, row *deliveryRow, now time.Time) (AddOutcome, string, error) {
	if row.StationCode != m.StationCode {
		return AddOtherStation, "", nil
	}
	on, number, err := manifestOf(ctx, tx, row.WaybillNo.String)
	switch {
	case err != nil:
		return "", "", err
	case on == m.ID:
		return AddOnThis, "", nil
	case on != uuid.Nil:
		return AddOnAnother, number, nil
	}
	readdressed, err := beingReaddressed(ctx, tx, []uuid.UUID{row.ID})
	if err != nil {
		return "", "", err
	}
	mismatched, err := packStopped(ctx, tx, row.ID)
	if err != nil {
		return "", "", err
	}
	if o := handOver(row, readdressed[row.ID], mismatched, now); o != HandOverRecorded {
		return AddOutcome(o), "", nil
	}
	packed, err := packingOf(ctx, tx, row.ID)
	if err != nil {
		return "", "", err
	}
	if packed == nil || packed.WaybillNo != row.WaybillNo.String {
		return AddNotPacked, "", nil
	}
	return AddAdded, "", nil
}

// RemoveFromManifest takes an envelope off an open list.
func (s *Service) RemoveFromManifest(ctx context.Context, id, delivery uuid.UUID, by string) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		m, err := lockManifest(ctx, tx, id)
		if err != nil {
			return err
		}
		if m.ClosedAt.Valid {
			return errManifestClosed
		}
		gone, err := deleteManifestItem(ctx, tx, id, delivery)
		if err != nil || !gone {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: s.clock.Now(), Actor: by, Action: "manifest.remove", Object: delivery.String(),
			Detail: map[string]string{"number": m.Number}})
	})
}

// A ManifestClosing is what both sides say at the end: how many envelopes the courier counted, and the courier's name.
type ManifestClosing struct {
	Count   int
	Courier vault.Secret
}

const maxCourier = 20

func (c *ManifestClosing) check() Faults {
	var f Faults
	c.Courier = vault.Conceal(oneLine(c.Courier.Reveal()))
	switch name := c.Courier.Reveal(); {
	case name == "":
		f = append(f, Fault{"courier", "required", "请填写揽投员姓名"})
	case utf8.RuneCountInString(name) > maxCourier || strings.ContainsFunc(name, unwritable):
		f = append(f, Fault{"courier", "format", fmt.Sprintf("揽投员姓名最多%d个字，不含特殊符号", maxCourier)})
	}
	if c.Count <= 0 {
		f = append(f, Fault{"count", "range", "请填写揽投员清点的件数"})
	}
	return f
}

// CloseManifest records the hand-over of every envelope on a list, all or none. It is refused while the two counts differ
// or while one of the envelopes must not leave any more.
func (s *Service) CloseManifest(ctx context.Context, id uuid.UUID, c ManifestClosing, by string) (Manifest, error) {
	if faults := c.check(); len(faults) > 0 {
		return Manifest{}, faults
	}
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		m, err := lockManifest(ctx, tx, id)
		if err != nil {
			return err
		}
		if m.ClosedAt.Valid {
			return errManifestClosed
		}
		items, err := manifestItems(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return &Conflict{"manifest_empty", "清单上没有邮件，不能封单"}
		}
		if len(items) != c.Count {
			return Faults{{"count", "differs", fmt.Sprintf("清单上有%d件，揽投员清点为%d件：请双方重新清点", len(items), c.Count)}}
		}
		now := s.clock.Now()
		numbers := make([]string, len(items))
		for i, it := range items {
			numbers[i] = it.WaybillNo
		}
		sealed := s.vault.Seal(vault.ColumnCourier, id, c.Courier.Reveal())
		if err := closeManifest(ctx, tx, id, c.Count, sealed, now, by); err != nil {
			return err
		}
		results, err := s.handOverAll(ctx, tx, numbers, now, by)
		if err != nil {
			return err
		}
		if err := allHandedOver(results); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "manifest.close", Object: id.String(),
			Detail: map[string]string{"number": m.Number, "count": fmt.Sprint(c.Count)}})
	})
	if err != nil {
		return Manifest{}, err
	}
	return s.Manifest(ctx, id)
}

// allHandedOver names the envelopes that may not leave any more.
func allHandedOver(results []HandOverResult) error {
	var bad []string
	for _, r := range results {
		if r.Outcome != HandOverRecorded {
			bad = append(bad, r.WaybillNo)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &Conflict{"manifest_items", "以下邮件已不能交寄（已交寄、取消、改址或核对不符），请从清单移除后再封单：" + strings.Join(bad, "、")}
}
