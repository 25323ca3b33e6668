package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/apiclient"

	"github.com/google/uuid"
)

func ptr[T any](v T) *T { return &v }

// generated is the client that oapi-codegen makes of openapi.yaml, with a token.
func (d *daemon) generated(scopes string) *apiclient.ClientWithResponses {
	d.t.Helper()
	token := d.token(scopes)
	c, err := apiclient.NewClientWithResponses(d.api, apiclient.WithHTTPClient(client),
		apiclient.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func newDelivery(n int) apiclient.NewDelivery {
	at := time.Date(2026, 10, 20, 10, 0, 0, 0, beijing)
	p := permit(n)
	who := p["recipient"].(map[string]any)
	return apiclient.NewDelivery{PermitNo: p["permit_no"].(string), ApplicationNo: p["application_no"].(string), Business: "exchange", Route: "online",
		Ground: "residence", StationCode: "110102001", Consent: &apiclient.Consent{Source: ptr("platform"), At: &at, NoticeVersion: ptr("1")},
		ApprovedAt: at.AddDate(0, 0, 2), PaymentMethod: "prepaid",
		Recipient: apiclient.NewRecipient{Name: who["name"].(string), Phone: who["phone"].(string), IdNo: who["id_no"].(string), Province: "北京市", City: "北京市",
			County: "西城区", Address: who["address"].(string)}}
}

// TestAClientMadeOfTheSpecGoesTheWholeWay integrates as a permit system does, with nothing but the document: a quote, a
// permit, its payment, the feed until it is ordered, another that is cancelled and refunded, and what goes wrong.
func TestAClientMadeOfTheSpecGoesTheWholeWay(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	ctx, c := t.Context(), d.generated("permits,payments,read")

	quote, err := c.QuoteWithResponse(ctx, apiclient.QuoteRequest{Province: "北京市"})
	if err != nil || quote.JSON200 == nil {
		t.Fatalf("quote: %v %s", err, quote.Body)
	}
	key := "SQ2026-000001"
	made, err := c.CreateDeliveryWithResponse(ctx, &apiclient.CreateDeliveryParams{IdempotencyKey: &key}, newDelivery(1))
	if err != nil || made.JSON201 == nil || made.JSON201.FeeFen != quote.JSON200.FeeFen {
		t.Fatalf("create: %v %s", err, made.Body)
	}
	again, err := c.CreateDeliveryWithResponse(ctx, &apiclient.CreateDeliveryParams{IdempotencyKey: &key}, newDelivery(1))
	if err != nil || again.JSON201 == nil || again.JSON201.Id != made.JSON201.Id {
		t.Errorf("the same again: %v %s", err, again.Body)
	}
	paid, err := c.RecordPaymentWithResponse(ctx, made.JSON201.Id, nil,
		apiclient.Payment{AmountFen: made.JSON201.FeeFen, Method: "wechat", TransactionNo: "WX-1", PaidAt: time.Now()})
	if err != nil || paid.JSON200 == nil || paid.JSON200.PaidFen != made.JSON201.FeeFen {
		t.Fatalf("pay: %v %s", err, paid.Body)
	}
	types := follow(t, c, made.JSON201.Id, "delivery.ordered")
	for _, want := range []string{"delivery.awaiting_payment", "payment.recorded", "delivery.approved", "delivery.ordering"} {
		if !strings.Contains(types, want) {
			t.Errorf("%s is not in the feed: %s", want, types)
		}
	}
	seen, err := c.GetDeliveryWithResponse(ctx, made.JSON201.Id, nil)
	if err != nil || seen.JSON200 == nil || seen.JSON200.WaybillNo == nil || seen.JSON200.Payments == nil {
		t.Fatalf("read: %v %s", err, seen.Body)
	}
	tag := seen.HTTPResponse.Header.Get("ETag")
	same, err := c.GetDeliveryWithResponse(ctx, made.JSON201.Id, &apiclient.GetDeliveryParams{IfNoneMatch: &tag})
	if err != nil || same.StatusCode() != http.StatusNotModified && same.StatusCode() != http.StatusOK {
		t.Errorf("unchanged: %v %s", err, same.Status())
	}

	other, err := c.CreateDeliveryWithResponse(ctx, nil, newDelivery(2))
	if err != nil || other.JSON201 == nil {
		t.Fatalf("create another: %v %s", err, other.Body)
	}
	stale, err := c.CancelDeliveryWithResponse(ctx, other.JSON201.Id, &apiclient.CancelDeliveryParams{IfMatch: ptr(`"9-0"`)}, apiclient.Reason{Reason: "改为自取"})
	if err != nil || stale.ApplicationproblemJSON412 == nil || stale.ApplicationproblemJSON412.Code != "changed_meanwhile" {
		t.Errorf("with an old version: %v %s", err, stale.Body)
	}
	if r, err := c.RecordPaymentWithResponse(ctx, other.JSON201.Id, nil, apiclient.Payment{AmountFen: 500, Method: "cash", TransactionNo: "CASH-1", PaidAt: time.Now()}); err != nil || r.JSON200 == nil {
		t.Fatalf("pay a part: %v %s", err, r.Body)
	}
	cancelled, err := c.CancelDeliveryWithResponse(ctx, other.JSON201.Id, nil, apiclient.Reason{Reason: "改为自取"})
	if err != nil || cancelled.JSON200 == nil || cancelled.JSON200.RefundDueFen != 500 {
		t.Fatalf("cancel: %v %s", err, cancelled.Body)
	}
	if types := follow(t, c, other.JSON201.Id, "refund.due"); !strings.Contains(types, "delivery.cancelled") {
		t.Errorf("the feed: %s", types)
	}
	if r, err := c.RecordRefundWithResponse(ctx, other.JSON201.Id, nil, apiclient.Payment{AmountFen: 500, Method: "cash", TransactionNo: "CASH-2", PaidAt: time.Now()}); err != nil || r.JSON200 == nil || r.JSON200.RefundDueFen != 0 {
		t.Errorf("refund: %v %s", err, r.Body)
	}

	faulty := newDelivery(3)
	faulty.Recipient.Phone, faulty.PermitNo = "12345", "A 1"
	if r, err := c.CreateDeliveryWithResponse(ctx, nil, faulty); err != nil || r.ApplicationproblemJSON422 == nil || len(*r.ApplicationproblemJSON422.Errors) != 2 {
		t.Errorf("two faults: %v %s", err, r.Body)
	}
	list, err := c.ListDeliveriesWithResponse(ctx, &apiclient.ListDeliveriesParams{Status: ptr(apiclient.Status("cancelled"))})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Deliveries) != 1 {
		t.Errorf("list: %v %s", err, list.Body)
	}
}

// follow reads the feed of one delivery until a type of event, and gives all that it read.
func follow(t *testing.T, c *apiclient.ClientWithResponses, delivery uuid.UUID, until string) string {
	t.Helper()
	var types []string
	after, wait, deadline := int64(0), "5s", time.Now().Add(30*time.Second)
	for time.Now().Before(deadline) {
		page, err := c.ListEventsWithResponse(t.Context(), &apiclient.ListEventsParams{After: &after, Wait: &wait})
		if err != nil || page.JSON200 == nil {
			t.Fatalf("the feed: %v %s", err, page.Body)
		}
		after = page.JSON200.After
		for _, e := range page.JSON200.Events {
			if e.DeliveryId != delivery {
				continue
			}
			if types = append(types, e.Type); e.Type == until {
				return strings.Join(types, " ")
			}
		}
	}
	t.Fatalf("no %s among %q", until, types)
	return ""
}
