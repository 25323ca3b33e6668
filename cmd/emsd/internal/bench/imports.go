package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier"
)

// measureImport gives A4: a clerk's file of permits, from the upload until every row is loaded.
func (b *bench) measureImport(ctx context.Context) error {
	var perSecond []float64
	for range b.Sizes.Rounds {
		r, err := b.accept(ctx, task{Kind: "import", Profile: b.profileName("import")})
		if err != nil {
			return err
		}
		b.say("import: %.0f rows/s", r.perSecond())
		perSecond = append(perSecond, r.perSecond())
	}
	b.report.add(against("A4", fmt.Sprintf("rows a second of a .csv of %d permits, uploaded, checked and loaded", b.Sizes.Permits), "/s", perSecond, nil))
	return nil
}

// permitsFile is a clerk's file of the permits that applications posts.
func permitsFile(n int) ([]byte, error) {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	row := make([]string, len(courier.Columns))
	for i, c := range courier.Columns {
		row[i] = c.Chinese
	}
	w.Write(row)
	cells := map[string]string{"business": "卡换证", "route": "网上申请", "ground": "住所", "identity_changed": "否", "address_changed": "否", "station_code": "110105001",
		"consent_source": "平台", "consent_at": "2026-10-11 11:33", "approved_at": "2026-10-22 11:33", "payment_method": "预付", "name": "张三丰",
		"id_no": "110105198310062311", "province": "北京市", "city": "北京市", "county": "朝阳区"}
	for p := range n {
		cells["permit_no"], cells["application_no"] = fmt.Sprintf("A1101052026%08d", p), fmt.Sprintf("SQ2026-%08d", p)
		cells["phone"], cells["address"] = fmt.Sprintf("138%08d", p), fmt.Sprintf("示例路%d号院2号楼3单元301室", p)
		for i, c := range courier.Columns {
			row[i] = cells[c.Name]
		}
		w.Write(row)
	}
	w.Flush()
	return text.Bytes(), w.Error()
}

// importProduct does what the console does: the file is kept, a round checks it, the clerk says yes, a round loads it.
func importProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	content, err := permitsFile(t.Items)
	if err != nil {
		return err
	}
	clock, v := clockFrom(t.Now), benchVault()
	uploads := intake.NewUploads(db, v, courier.New(db, v, clock, courier.Options{}), clock, quiet)
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := importFile(ctx, uploads, content, t.Items); err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

func importFile(ctx context.Context, uploads *intake.Uploads, content []byte, rows int) error {
	const clerk = "bench"
	id, err := uploads.Add(ctx, intake.Uploader{Name: clerk, Kinds: []intake.Kind{intake.Permits}}, "permits.csv", content)
	if err != nil {
		return err
	}
	if err := uploads.Round(ctx); err != nil {
		return err
	}
	if err := uploads.Load(ctx, id, clerk); err != nil {
		return err
	}
	if err := uploads.Round(ctx); err != nil {
		return err
	}
	u, err := uploads.Get(ctx, id, clerk, false)
	if err == nil && (u.State != intake.Loaded || u.Summary.Created != rows) {
		err = fmt.Errorf("the upload is %s: %s%s, want %d created", u.State, u.Summary, u.Fault, rows)
	}
	return err
}
