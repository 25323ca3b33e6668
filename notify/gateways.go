package notify

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// unsentLimit is how often a message may fail to leave for one gateway before the next one gets it (dossier E.4).
const unsentLimit = 3

// Gateways are the configured gateways in order of preference, with what this process has stopped of them. The stop is
// not shared: another replica learns the same from its first request, which was refused and cost nothing.
type Gateways struct {
	list []Gateway

	mu    sync.Mutex
	stops map[stopKey]time.Time // wall
	away  map[string]int        // by gateway: requests in a row that did not leave for it
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
	return &Gateways{list: list, stops: make(map[stopKey]time.Time), away: make(map[string]int)}, nil
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

// A choice is the gateway that a message takes, and by which of the texts that would do.
type choice struct {
	gateway Gateway // nil: none
	text    Milestone
}

// pick gives the gateway for a message and the text that it takes: the first gateway that is not stopped and has a template
// for one of the texts, of which an earlier one is better, unless it could not be reached unsentLimit times for this
// message. When none has a template, the first is asked, so that its refusal is told; when all are stopped it tells when the
// first of them is tried again.
func (g *Gateways) pick(texts []Milestone, unsentAt map[string]int, wall time.Time) (best choice, again time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	turns := 0
	var without Gateway
	for _, candidate := range g.list {
		text, until := g.usable(candidate, texts, wall)
		if until.After(wall) && (again.IsZero() || until.Before(again)) {
			again = until
		}
		switch n := unsentAt[candidate.Name()] / unsentLimit; {
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

// stop leaves a gateway, or one template of it, alone until a wall time. It reports whether that is news.
func (g *Gateways) stop(k stopKey, wall, until time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := !g.stops[k].After(wall)
	g.stops[k] = until
	return news
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

// left notes whether a request left for a gateway. After unsentLimit in a row that did not, the gateway pauses, so that
// an outage does not move every message that is due.
func (g *Gateways) left(gateway string, yes bool, wall, until time.Time) (paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if yes {
		delete(g.away, gateway)
		return false
	}
	g.away[gateway]++
	k := stopKey{gateway: gateway}
	if g.away[gateway] < unsentLimit || g.stops[k].After(wall) {
		return false
	}
	g.stops[k] = until
	return true
}

// probing reports whether the gateway that would come first could not be reached lately: one request tries it before
// a whole chunk does.
func (g *Gateways) probing(wall time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, candidate := range g.list {
		if !g.stops[stopKey{gateway: candidate.Name()}].After(wall) {
			return g.away[candidate.Name()] >= unsentLimit
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
