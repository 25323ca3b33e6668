package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// young is how many deliveries a young installation has.
const young = 10

// measurePages asks the API one question after the other, of few deliveries and of very many.
func (b *bench) measurePages(ctx context.Context) error {
	for _, n := range []int{young, b.Sizes.Known} {
		err := b.within(ctx, func(db *sqlx.DB, _ string) error {
			if err := seedIntake(ctx, db, businessNow); err != nil {
				return err
			}
			b.say("pages: making %d deliveries", n)
			if err := seedPages(ctx, db, n, businessNow); err != nil {
				return fmt.Errorf("seed %d deliveries: %w", n, err)
			}
			return b.askPages(ctx, db, n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) askPages(ctx context.Context, db *sqlx.DB, n int) error {
	o, err := openOffice(ctx, db, clockFrom(businessNow), "read")
	if err != nil {
		return err
	}
	defer o.Close()
	app, faults := courier.ParseApplication(application(1))
	if len(faults) > 0 {
		return faults
	}
	taken, err := o.service.Accept(ctx, []courier.Application{app})
	if err != nil {
		return err
	}
	half := url.QueryEscape(businessNow.Add(-time.Duration(n/2) * time.Second).Format(time.RFC3339))
	deep, err := nextPage(ctx, o, "/v1/deliveries?limit=2&updated_after="+half)
	if err != nil {
		return err
	}
	for _, q := range []struct{ what, path string }{
		{"GET of a delivery", "/v1/deliveries/" + taken[0].Delivery.ID.String()},
		{"list by status, 100", "/v1/deliveries?status=held"},
		{"list by a status that few have", "/v1/deliveries?status=awaiting_payment"},
		{"list of changes, 100 from the middle", deep},
		{"100 events from the middle of the feed", fmt.Sprintf("/v1/events?limit=100&after=%d", n/2)},
	} {
		var took []float64
		for range max(20, b.Sizes.Payments) {
			began := time.Now()
			if _, err := ask(ctx, o, q.path); err != nil {
				return fmt.Errorf("%s: %w", q.what, err)
			}
			took = append(took, time.Since(began).Seconds()*1000)
		}
		what := fmt.Sprintf("API, %s deliveries, %s", count(n), q.what)
		r := row{id: "A3", what: what + ", median", unit: "ms", product: []float64{median(took)}}
		r.goal = goal{bound: 50, absolute: true}
		b.report.add(r, row{id: "A3", what: what + ", 99th percentile", unit: "ms", product: []float64{percentile(took, 99)}})
		b.say("pages: %s: %.2f ms, 99th %.2f", what, median(took), percentile(took, 99))
	}
	return nil
}

// ask reads an answer to its end.
func ask(ctx context.Context, o *office, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	res, err := o.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %d: %s", res.StatusCode, body)
	}
	return body, err
}

// nextPage gives the address of the page behind the first one.
func nextPage(ctx context.Context, o *office, path string) (string, error) {
	body, err := ask(ctx, o, path)
	if err != nil {
		return "", err
	}
	var page struct {
		Next string `json:"next_cursor"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return "", err
	}
	if page.Next == "" {
		return "", errors.New("there is no second page of " + path)
	}
	u, err := url.Parse(path)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("cursor", page.Next)
	q.Set("limit", "100")
	u.RawQuery = q.Encode()
	return u.String(), nil
}
