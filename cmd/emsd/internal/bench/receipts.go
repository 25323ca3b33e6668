package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/resident"
	"emsd/cmd/emsd/internal/web"
	"emsd/notify"
	"emsd/notify/aliyun"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// How receipts are pushed while R1 is measured, and how often the round works through them.
const (
	receiptsPerSecond = 500
	receiptSenders    = 32
	receiptsEvery     = 100 * time.Millisecond
)

// measureReceipts gives R1. An answer's time runs from when the push was due, so that a late answer is not hidden by the
// next push waiting for it.
func (b *bench) measureReceipts(ctx context.Context) error {
	n := int(b.Sizes.ReceiptSeconds * receiptsPerSecond)
	var r result
	err := b.within(ctx, func(db *sqlx.DB, dsn string) (err error) {
		ours := (n + 1) / 2
		if err := b.seedOrders(ctx, db, ours); err != nil {
			return err
		}
		if err := seedTaken(ctx, db, businessNow); err != nil {
			return fmt.Errorf("seed attempts: %w", err)
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		if r, err = b.run(ctx, task{Kind: "receipts", DSN: dsn, Items: n, Workers: receiptSenders, PerSecond: receiptsPerSecond, Now: businessNow}); err != nil {
			return err
		}
		got, err := readReceived(ctx, db)
		if want := (received{Stored: n, Once: n, Joined: n, Delivered: ours}); err == nil && got != want {
			err = fmt.Errorf("check receipts: stored %+v, want %+v", got, want)
		}
		return err
	})
	if err != nil {
		return err
	}
	took := milliseconds(r.Took)
	b.say("receipts: median %.1f ms, 99th %.1f ms", median(took), percentile(took, 99))
	what := fmt.Sprintf("answer to a receipt push, %d a second from %d connections, half of them strangers, while the round works, ", receiptsPerSecond, receiptSenders)
	b.report.add(against("R1", what+"median", "ms", []float64{median(took)}, nil))
	b.report.add(against("R1", what+"99th percentile", "ms", []float64{percentile(took, 99)}, nil).below(200, 0))
	return nil
}

// receiptPush is the ith push: of an attempt of ours when i is even, else of a stranger.
func receiptPush(i int) string {
	out := fmt.Sprintf("01930000-0000-7000-8000-%012x", i/2+1)
	if i%2 == 1 {
		out = fmt.Sprintf("01930000-0000-7000-9000-%012x", i)
	}
	return fmt.Sprintf(`[{"phone_number":"138%08d","send_time":"2026-11-24 12:00:00","report_time":"2026-11-24 12:00:05","success":true,"err_code":"DELIVERED",`+
		`"err_msg":"","sms_size":"1","biz_id":"bench^%d","out_id":"%s"}]`, i, i, out)
}

// receiptProduct pushes receipts to the daemon's public handler.
func receiptProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	clock := clockFrom(t.Now)
	account, err := aliyun.New(smsAccount("https://127.0.0.1:1/", clock)) // asked for nothing: it only reads receipts
	if err != nil {
		return err
	}
	gateways, err := notify.NewGateways(account)
	if err != nil {
		return err
	}
	receipts := notify.NewReceipts(db, benchVault(), gateways, clock, notify.Options{}, quiet, notify.NewMetrics(prometheus.NewRegistry(), gateways))
	forms := map[string]resident.ReceiptForm{"aliyun": {Parse: aliyun.ParseReceipts, Answer: aliyun.ReceiptAnswer}}
	srv := httptest.NewServer(web.Log(quiet, resident.New(resident.Config{ReceiptSecret: secret}, nil, nil, receipts, nil, forms, clock, quiet)))
	defer srv.Close()
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if m.Took, err = pushAll(ctx, srv.URL+"/sms/aliyun/receipts/"+secret, receipts.Round, t); err != nil {
		return err
	}
	if err := m.stop(ctx, db, t.Items); err != nil {
		return err
	}
	return receipts.Round(ctx) // what came after the last round
}

// pushAll pushes every receipt when it is due, and gives the seconds until each was answered.
func pushAll(ctx context.Context, url string, round func(context.Context) error, t task) ([]float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: t.Workers, MaxIdleConnsPerHost: t.Workers}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	took := make([]float64, t.Items)
	began := time.Now()
	senders, sending := errgroup.WithContext(ctx)
	for w := range t.Workers {
		senders.Go(func() error {
			for i := w; i < t.Items; i += t.Workers {
				due := began.Add(time.Duration(float64(i) / t.PerSecond * float64(time.Second)))
				if err := wait(sending, time.Until(due)); err != nil {
					return err
				}
				if err := pushReceipt(sending, client, url, receiptPush(i)); err != nil {
					return err
				}
				took[i] = time.Since(due).Seconds()
			}
			return nil
		})
	}
	pushed := make(chan struct{})
	var joining errgroup.Group
	joining.Go(func() error {
		for {
			if err := round(ctx); err != nil {
				return err
			}
			select {
			case <-pushed:
				return nil
			case <-time.After(receiptsEvery):
			}
		}
	})
	err := senders.Wait()
	close(pushed)
	return took, errors.Join(err, joining.Wait())
}

func pushReceipt(ctx context.Context, client *http.Client, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("push a receipt: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || strings.TrimSpace(string(answer)) != aliyun.ReceiptAnswer {
		return errors.Join(err, fmt.Errorf("push a receipt: answered %s %.200s", resp.Status, answer))
	}
	return nil
}
