package tracking

import (
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
)

// manyScans is a trace of n scans, a second apart, and the delivery that ends it.
func manyScans(n int) []courier.Scan {
	scans := make([]courier.Scan, n, n+1)
	for i := range scans {
		scans[i] = at(1, "389")
		scans[i].At = scans[i].At.Add(time.Duration(i) * time.Second)
	}
	return append(scans, at(29, "704/10"))
}

// BenchmarkTenThousandScans is what TestATraceOfTenThousandScans bounds, without the database.
func BenchmarkTenThousandScans(b *testing.B) {
	v := vault.Fixed([]byte("tracking"))
	hash := func(s *courier.Scan) int64 { return textPrint(v, s) }
	scans := manyScans(10_000)
	a := &asked{waybill: waybill{no: scans[0].WaybillNo, stage: courier.Ordered, orderedAt: hour(0)}, trace: courier.Trace{Scans: scans}}
	b.Run("fold", func(b *testing.B) {
		for b.Loop() {
			defaultBook.Fold(scans, Envelope{OrderedAt: hour(0)})
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			digest(a, standing{status: courier.Ordered}, nil, rules{defaultBook, defaultPlan}, hash, hour(30))
		}
	})
	b.Run("columns", func(b *testing.B) {
		n := digest(a, standing{status: courier.Ordered}, nil, rules{defaultBook, defaultPlan}, hash, hour(30))
		for b.Loop() {
			newColumns([]news{n}, func(n *news) []telling { return n.fresh }).seal(v, vault.ColumnScan)
		}
	})
}
