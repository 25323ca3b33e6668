package notify

import (
	"testing"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// BenchmarkSendRound sends through a gateway that answers at once: what is measured is everything else.
func BenchmarkSendRound(b *testing.B) {
	w := newWorld(b)
	ids, nos, names, phones := make([]string, b.N), make([]string, b.N), make([][]byte, b.N), make([][]byte, b.N)
	for i := range b.N {
		id := uuid.Must(uuid.NewV7())
		ids[i], nos[i] = id.String(), phoneOf(i)
		names[i], phones[i] = w.vault.Seal(vault.ColumnName, id, surname+givenName), w.vault.Seal(vault.ColumnPhone, id, phoneOf(i))
	}
	w.exec(`
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
		SELECT id, 'A' || no, 'SQ' || no, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $5, $5,
			'prepaid', name, phone, '', '', '', '', '', '北京市', '北京市', '朝阳区', 'in_transit', $5, 'RP' || no, no, $5, $5
		FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) AS d(id, no, name, phone)`,
		pq.Array(ids), pq.Array(nos), pq.ByteaArray(names), pq.ByteaArray(phones), noon)
	w.exec(`INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT gen_random_uuid(), id, 'handed_over', 1, $1, '{}', 'queued', 'send', '', $1, $1, $1 FROM deliveries`, noon)
	g := &fakeGateway{name: "a"}
	s := NewSender(w.db, w.vault, w.gateways(g), w.clock(), Options{}, w.log, nil)
	b.ResetTimer()
	if err := s.Round(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	if n := w.count(`SELECT count(*) FROM messages WHERE state = 'accepted'`); n != b.N {
		b.Fatalf("%d accepted of %d", n, b.N)
	}
}
