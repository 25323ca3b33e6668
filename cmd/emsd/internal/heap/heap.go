// Package heap holds the daemon's setting of Go's collector.
package heap

// size is in bytes. It is what docs/benchmarks.md leaves to P8.
const size = 2 << 20

var reserve []byte

// Reserve lets two more megabytes be allocated between two collections. What lives in the daemon is about five, so that under
// load Go collects after every five that come in: 15 % of the profile of sending messages. The reserve counts as living and is never touched: it
// takes addresses, and no memory. A higher GOGC would do the same, and cost many times that where much lives (1,024 workers).
func Reserve() {
	if reserve == nil {
		reserve = make([]byte, size)
	}
}
