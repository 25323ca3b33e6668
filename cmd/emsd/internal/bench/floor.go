package bench

import (
	"context"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"emsd/courier/vault"

	smcipher "github.com/emmansun/gmsm/cipher"
	"github.com/emmansun/gmsm/sm4"
	"github.com/go-resty/resty/v2"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// The floor is what the work costs when nothing but the work is done: by hand, with the same HTTP library, database
// driver, workers and lanes, on tables with the fewest columns. It has no rules, no retries, no limits and no metrics.
const (
	floorChunk = 500
	floorLanes = 4
)

// A floorWire speaks the wire form the plain way.
type floorWire struct {
	url     string
	client  *resty.Client
	encrypt cipher.BlockMode
	watch   *watch // may be nil
}

func newFloorWire(url string, workers int) (*floorWire, error) {
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		return nil, err
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConns: workers, MaxIdleConnsPerHost: workers, DisableCompression: true}
	return &floorWire{url: url, client: resty.NewWithClient(&http.Client{Transport: transport, Timeout: 15 * time.Second}),
		encrypt: smcipher.NewECBEncrypter(block)}, nil
}

func (f *floorWire) seal(message []byte) string {
	plain := append(message, secret...)
	pad := sm4.BlockSize - len(plain)%sm4.BlockSize
	for range pad {
		plain = append(plain, byte(pad))
	}
	f.encrypt.CryptBlocks(plain, plain)
	return "|$4|" + base64.StdEncoding.EncodeToString(plain)
}

// call sends a message and reads what stands in retBody into body.
func (f *floorWire) call(ctx context.Context, api string, message []byte, body any) error {
	resp, err := f.client.R().SetContext(ctx).SetFormData(map[string]string{
		"apiCode": api, "senderNo": account, "authorization": authorization, "msgType": "0", "version": "V1.0.0",
		"timeStamp": time.Now().Format(time.DateTime), "logitcsInterface": f.seal(message),
	}).Post(f.url)
	if err != nil {
		return err
	}
	var a struct {
		RetCode string `json:"retCode"`
		RetBody string `json:"retBody"`
	}
	if err := json.Unmarshal(resp.Body(), &a); err != nil {
		return err
	}
	if a.RetCode != "00000" {
		return errors.New("refused: " + a.RetCode)
	}
	return json.Unmarshal([]byte(a.RetBody), body)
}

// lanes runs chunk in each lane until it finds nothing.
func lanes(chunk func() (int, error)) error {
	errs := make([]error, floorLanes)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for {
				n, err := chunk()
				if err != nil || n == 0 {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A pool is workers that all lanes share.
type pool struct {
	jobs chan func()
	wg   sync.WaitGroup
}

func newPool(workers int) *pool {
	p := &pool{jobs: make(chan func(), workers)}
	for range workers {
		p.wg.Go(func() {
			for f := range p.jobs {
				f()
			}
		})
	}
	return p
}

func (p *pool) close() {
	close(p.jobs)
	p.wg.Wait()
}

// each calls f for 0 to n-1 and gives the first error.
func (p *pool) each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var done sync.WaitGroup
	done.Add(n)
	for i := range n {
		p.jobs <- func() {
			defer done.Done()
			errs[i] = f(i)
		}
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A floorPoll is a row that is due, and what the answer held.
type floorPoll struct {
	id    string
	no    string
	scans int64
}

// A floorScan is what identifies a scan; the rest of the answer is passed over.
type floorScan struct {
	OpTime  string `json:"opTime"`
	OpCode  string `json:"opCode"`
	OrgCode string `json:"opOrgCode"`
}

// pollFloor is the poll round by hand: claim with held row locks, ask, one statement, commit.
func pollFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	wire, err := newFloorWire(t.URL, t.Workers)
	if err != nil {
		return err
	}
	if err := m.start(ctx, db); err != nil {
		return err
	}
	workers := newPool(t.Workers)
	defer workers.close()
	err = lanes(func() (int, error) { return pollFloorChunk(ctx, db, wire, workers, t.Now) })
	if err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

func pollFloorChunk(ctx context.Context, db *sqlx.DB, wire *floorWire, workers *pool, now time.Time) (int, error) {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // after a commit it does nothing
	rows, err := claimFloorPolls(ctx, tx, now, floorChunk)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	err = workers.each(len(rows), func(i int) error {
		var body struct {
			Items []floorScan `json:"responseItems"`
		}
		wire.watch.asks(rows[i].no)
		err := wire.call(ctx, "040001", []byte(`{"waybillNo":"`+rows[i].no+`","direction":"0"}`), &body)
		wire.watch.answers()
		rows[i].scans = int64(len(body.Items))
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := writeFloorPolls(ctx, tx, rows, now.Add(30*time.Minute)); err != nil {
		return 0, err
	}
	return len(rows), tx.Commit()
}

// A floorOrder is a row that waits for its order.
type floorOrder struct {
	id        uuid.UUID
	orderNo   string
	waybillNo string
	recipient []byte // sealed JSON
	confirmed string
}

// floorMessage is 020003 with the fields that EMS demands (dossier 2.1).
type floorMessage struct {
	UserID    string          `json:"ecommerceUserId"`
	OrderNo   string          `json:"logisticsOrderNo"`
	CreatedAt string          `json:"createdTime"`
	SenderNo  string          `json:"senderNo"`
	WaybillNo string          `json:"waybillNo"`
	Contents  string          `json:"contentsAttribute"`
	Product   string          `json:"bizProductNo"`
	Payment   string          `json:"paymentMode"`
	WeightG   int             `json:"weight"`
	Sender    floorParty      `json:"sender"`
	Recipient json.RawMessage `json:"receiver"`
	Cargos    []floorCargo    `json:"cargos"`
}

type floorParty struct {
	Name     string `json:"name"`
	Mobile   string `json:"mobile"`
	Province string `json:"prov"`
	City     string `json:"city"`
	County   string `json:"county"`
	Address  string `json:"address"`
}

type floorCargo struct {
	Name     string `json:"cargoName"`
	Quantity int    `json:"cargoQuantity"`
}

const floorRecipientColumn = "bench.recipient"

// orderFloor is ordering by hand: claim and intent, commit; call; outcome and an outbox row, commit.
func orderFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	wire, err := newFloorWire(t.URL, t.Workers)
	if err != nil {
		return err
	}
	v := benchVault()
	if err := m.start(ctx, db); err != nil {
		return err
	}
	workers := newPool(t.Workers)
	defer workers.close()
	err = lanes(func() (int, error) {
		rows, err := claimFloorOrders(ctx, db, floorChunk)
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		if err := workers.each(len(rows), func(i int) error { return rows[i].send(ctx, wire, v) }); err != nil {
			return 0, err
		}
		return len(rows), settleFloorOrders(ctx, db, rows)
	})
	if err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

func (o *floorOrder) send(ctx context.Context, wire *floorWire, v *vault.Vault) error {
	recipient, err := v.UnsealBytes(floorRecipientColumn, o.id, o.recipient)
	if err != nil {
		return err
	}
	message, err := json.Marshal([]floorMessage{{
		UserID: account, OrderNo: o.orderNo, CreatedAt: time.Now().Format(time.DateTime), SenderNo: account, WaybillNo: o.waybillNo,
		Contents: "1", Product: "1", Payment: "1", WeightG: 50, Sender: seedSender, Recipient: recipient,
		Cargos: []floorCargo{{"证件", 1}},
	}})
	if err != nil {
		return err
	}
	var answer wireOrder
	if err := wire.call(ctx, "020003", message, &answer); err != nil {
		return err
	}
	if answer.OrderNo != o.orderNo || answer.WaybillNo == "" {
		return fmt.Errorf("order %s was answered as %s", o.orderNo, answer.OrderNo)
	}
	o.confirmed = strings.TrimSpace(answer.WaybillNo)
	return nil
}
