package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/notify"
)

// A precondition tells the version of what a POST changes, and keeps it from changing.
type precondition func(a *API, r *http.Request) (string, error)

// errChanged says that what the caller looked at is not what stands there now.
var errChanged = web.NewProblem(http.StatusPreconditionFailed, "changed_meanwhile", "您查看之后该记录又有变化，本次没有办理：请重新查看，再决定是否办理")

// holds compares If-Match with the version of what the POST changes. "*" is anything that is there.
func (a *API) holds(check precondition, match string, r *http.Request) error {
	if match == "" || check == nil {
		return nil
	}
	now, err := check(a, r)
	if err != nil {
		return err
	}
	for tag := range strings.SplitSeq(match, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || version(tag) == now {
			return nil
		}
	}
	return errChanged
}

// A delivery's tag is `"12-9f86d081…"`: the number of its last event, which is its version, and a hash of what was
// shown. If-Match compares the version alone: when EMS is asked next is nothing that a clerk could overlook.
func deliveryTag(seq int, body []byte) string {
	return `"` + strconv.Itoa(seq) + "-" + digest(body) + `"`
}

// version is the part of a tag that If-Match compares.
func version(tag string) string {
	v, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
	return v
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// deliveryVersion is the precondition of a POST about a delivery.
func deliveryVersion(a *API, r *http.Request) (string, error) {
	id, err := pathID(r)
	if err != nil {
		return "", err
	}
	seq, err := a.service.LockVersion(r.Context(), id)
	return strconv.Itoa(seq), err
}

// caseVersion is the precondition of a POST about a case.
func caseVersion(a *API, r *http.Request) (string, error) {
	id, err := pathID(r)
	if err != nil {
		return "", err
	}
	c, err := a.service.LockCase(r.Context(), id)
	return caseDigest(c), err
}

// callVersion is the precondition of a POST about a call: a try at night moves its case to the same hour of the morning
// as the one before, so that the tries count, too.
func callVersion(a *API, r *http.Request) (string, error) {
	id, err := pathID(r)
	if err != nil {
		return "", err
	}
	one, err := a.service.LockCase(r.Context(), id)
	if err != nil {
		return "", err
	}
	c, err := a.calls.Of(r.Context(), one)
	return callDigest(c), err
}

func caseDigest(c courier.Case) string { return viewDigest(viewCase(c)) }

func callDigest(c notify.Call) string {
	return viewDigest(struct {
		Case  caseView
		Tries []callTryView
	}{viewCase(c.Case), viewTries(c.Tries)})
}

func viewDigest(v any) string {
	body, err := json.Marshal(v)
	if err != nil { // texts only: cannot happen
		panic(err)
	}
	return digest(body)
}

// writeTagged answers a GET with its tag, or 304 when the caller has the same already. seen is called before anything is shown.
func writeTagged(w http.ResponseWriter, r *http.Request, v any, tag func(body []byte) string, seen func() error) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	etag := tag(body)
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-store")
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if known = strings.TrimPrefix(strings.TrimSpace(known), "W/"); known == etag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	if err := seen(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.Write(append(body, '\n'))
	return nil
}

// showCase answers one case, open or closed.
func (a *API) showCase(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	c, err := a.service.Case(r.Context(), id)
	if err != nil {
		return err
	}
	return writeTagged(w, r, viewCase(c), func([]byte) string { return `"` + caseDigest(c) + `"` }, func() error { return nil })
}
