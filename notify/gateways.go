package notify

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// unsentLimit is how often a message may fail to leave for one gateway before the next one gets it (dossier E.4), and how
	// many requests in a row may fail to leave before the gateway pauses.
	unsentLimit = 3
	// doubtLimit is how many requests in a row may end without an answer that can be read before the gateway pauses. Each of
	// them is in doubt and never repeated, so an outage that went on taking messages would cost residents every one of them.
	doubtLimit = 5
)

// Gateways are the configured gateways in order of preference, with what this process has stopped of them. The stop is
// not shared: another replica learns the same from its first request, which was refused and cost nothing.
type Gateways struct {
	list []Gateway

	mu     sync.Mutex
	stops  map[stopKey]time.Time   // wall
	silent map[string]time.Time    // by gateway: until when nothing is begun, for what it is given may be lost (wall)
	told   map[[2]string]time.Time // by gateway and code: until when an operator is not told again (wall)
	misses map[string]int          // by gateway: requests in a row that it did not answer; those while it is stopped do not count
	open   map[string]int          // by gateway: requests that are there now
}

// A stopKey names a gateway, or its template for one milestone.
type stopKey struct {
	gateway   string
	milestone Milestone // empty: all of it
}

// NewGateways checks that there is a gateway and that no two share a name, by which attempts know theirs.
func NewGateways(list ...Gateway) (*Gateways, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("SMS gateways: none is configured")
	}
	names := make(map[string]bool)
	for _, g := range list {
		if names[g.Name()] || g.Name() == "" {
			return nil, fmt.Errorf("SMS gateways: %q stands twice or has no name", g.Name())
		}
		names[g.Name()] = true
	}
	return &Gateways{list: list, stops: make(map[stopKey]time.Time), silent: make(map[string]time.Time), told: make(map[[2]string]time.Time), misses: make(map[string]int), open: make(map[string]int)}, nil
}

// find gives the gateway of an attempt; nil when it is configured no more.
func (g *Gateways) find(name string) Gateway {
	for _, candidate := range g.list {
		if candidate.Name() == name {
			return candidate
		}
	}
	return nil
}

// byNumber reports whether a gateway may know a message by its number only.
func (g *Gateways) byNumber() bool {
	return slices.ContainsFunc(g.list, func(one Gateway) bool { return !knowsAttempts(one) })
}

// A choice is the gateway that a message takes, and by which of the texts that would do.
type choice struct {
	gateway Gateway // nil: none
	text    Milestone
}

// pick gives the gateway for a message and the text that it takes: the first gateway that is not stopped and has a template
// for one of the texts, of which an earlier one is better, unless it could not be reached unsentLimit times for this
// message, or the number's carrier refuses us there. When none has a template, the first is asked, so that its refusal is
// told; when all are stopped it tells when the first of them is tried again.
func (g *Gateways) pick(texts []Milestone, of map[string]past, wall time.Time) (best choice, again time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	turns := 0
	var without Gateway
	for _, candidate := range g.list {
		text, until := g.usable(candidate, texts, wall)
		if until.After(wall) && (again.IsZero() || until.Before(again)) {
			again = until
		}
		p := of[candidate.Name()]
		switch n := p.unsent/unsentLimit + p.unregistered*1000; {
		case text == "":
			if until.IsZero() && without == nil {
				without = candidate
			}
		case best.gateway == nil || n < turns:
			best, turns = choice{candidate, text}, n
		}
	}
	if best.gateway == nil && again.IsZero() && without != nil {
		return choice{without, texts[len(texts)-1]}, again
	}
	return best, again
}

// usable gives the first text that a gateway has a template for and has not refused lately, else when one it refused is
// tried again.
func (g *Gateways) usable(candidate Gateway, texts []Milestone, wall time.Time) (text Milestone, again time.Time) {
	for _, m := range texts {
		if t, ok := candidate.(Templated); ok && !t.HasTemplate(m) {
			continue
		}
		until := g.stoppedUntil(candidate.Name(), m)
		if !until.After(wall) {
			return m, time.Time{}
		}
		if again.IsZero() || until.Before(again) {
			again = until
		}
	}
	if again.IsZero() { // no template: the gateway may be stopped, or have been asked and refused
		if until := g.stoppedUntil(candidate.Name(), texts[len(texts)-1]); until.After(wall) {
			again = until
		}
	}
	return "", again
}

func (g *Gateways) stoppedUntil(gateway string, milestone Milestone) time.Time {
	whole, one := g.stops[stopKey{gateway: gateway}], g.stops[stopKey{gateway, milestone}]
	if one.After(whole) {
		return one
	}
	return whole
}

// stop leaves a gateway, or one template of it, alone until a wall time; then one request tries it. It reports whether that
// is news.
func (g *Gateways) stop(k stopKey, wall, until time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := !g.stops[k].After(wall)
	g.stops[k] = until
	if k.milestone == "" {
		g.misses[k.gateway] = max(g.misses[k.gateway], unsentLimit)
	}
	return news
}

// news reports whether an operator is to be told of a code that stops nothing, and is not to be told again for a while.
func (g *Gateways) news(gateway, code string, wall, until time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := [2]string{gateway, code}
	if g.told[k].After(wall) {
		return false
	}
	g.told[k] = until
	return true
}

// hush keeps what was chosen for a gateway from being begun until a wall time. One that refuses needs none: it loses nothing.
func (g *Gateways) hush(gateway string, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent[gateway] = until
}

// hushed reports whether nothing is to be begun at a gateway now.
func (g *Gateways) hushed(gateway string, wall time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.silent[gateway].After(wall)
}

// stopped reports whether anything of a gateway is stopped.
func (g *Gateways) stopped(gateway string, wall time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, until := range g.stops {
		if k.gateway == gateway && until.After(wall) {
			return true
		}
	}
	return false
}

// begin notes that a request is at a gateway, until end; false: nothing is to be begun there now.
func (g *Gateways) begin(gateway string, wall time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.silent[gateway].After(wall) {
		return false
	}
	g.open[gateway]++
	return true
}

// end is called when what came of a request was noted.
func (g *Gateways) end(gateway string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[gateway]--
}

// answered notes that a gateway gave an answer that can be read, whatever it says.
func (g *Gateways) answered(gateway string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.misses, gateway)
}

// doubted reports whether a gateway has taken nothing since it was stopped, or has not answered lately.
func (g *Gateways) doubted(gateway string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.misses[gateway] >= unsentLimit
}

// missed notes a request that did not leave for a gateway, or that it did not answer. After limit of them in a row the gateway
// pauses, twice as long each further time, up to most, so that an outage does not take every message that is due. Of many that
// were begun together those that fail may be back first, so of those a quarter has to: a gateway that loses one in ten is up.
func (g *Gateways) missed(gateway string, limit int, wall time.Time, pause, most time.Duration) (paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := stopKey{gateway: gateway}
	if g.stops[k].After(wall) {
		return false
	}
	g.misses[gateway]++
	if g.misses[gateway] < max(limit, g.open[gateway]/3) {
		return false
	}
	if g.open[gateway]/3 > limit {
		g.misses[gateway] = limit // the first pause, however many it took
	}
	n := g.misses[gateway] - limit
	g.stops[k] = wall.Add(min(pause<<min(n, 16), most))
	g.silent[gateway] = g.stops[k]
	return true
}

// probing reports whether the gateway that would come first did not answer lately, or was stopped: one request tries it before
// a whole chunk does.
func (g *Gateways) probing(wall time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, candidate := range g.list {
		if !g.stops[stopKey{gateway: candidate.Name()}].After(wall) {
			return g.misses[candidate.Name()] >= unsentLimit
		}
	}
	return false
}

// allStopped reports whether no gateway may be used now.
func (g *Gateways) allStopped(wall time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, candidate := range g.list {
		if !g.stops[stopKey{gateway: candidate.Name()}].After(wall) {
			return false
		}
	}
	return true
}

// spread moves a wait by up to a quarter, by the message's id, so that what failed together does not return together.
func spread(wait time.Duration, id uuid.UUID) time.Duration {
	return wait - wait/4*time.Duration(id[15])/255
}
