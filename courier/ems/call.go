package ems

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"emsd/courier"

	"github.com/go-resty/resty/v2"
)

// A call is one business message on its way, over all its attempts.
type call struct {
	c       *Client
	ctx     context.Context
	api     string
	message []byte              // business JSON, the exact bytes
	private []string            // what was sent of people: taken out of the carrier's texts
	read    func(*answer) error // takes the answer in; an error makes the outcome unknown
	patient bool                // only asks, and lets orders go first
	tries   int

	sealed []byte // the message encrypted and escaped, the same for every attempt
	trace  httptrace.ClientTrace
	conn   atomic.Bool // the attempt has got a connection: from here on something may have left

	// Of the attempt under way.
	began  time.Time
	done   func(error) // tells the breaker; nil while none is under way
	err    *courier.CarrierError
	again  bool // the failure may pass
	judged bool
}

type callKey struct{}

// ask sends a call that only reads, with retries.
func (c *Client) ask(ctx context.Context, api string, message []byte, private []string, read func(*answer) error) error {
	return c.send(c.asks, &call{c: c, ctx: ctx, api: api, message: message, private: private, read: read, patient: true})
}

// order sends a call that changes something: at most one attempt leaves.
func (c *Client) order(ctx context.Context, api string, message []byte, private []string, read func(*answer) error) error {
	return c.send(c.orders, &call{c: c, ctx: ctx, api: api, message: message, private: private, read: read})
}

func (c *Client) send(via *resty.Client, k *call) error {
	k.trace.GotConn = func(httptrace.GotConnInfo) { k.conn.Store(true) }
	traced := context.WithValue(httptrace.WithClientTrace(k.ctx, &k.trace), callKey{}, k)

	r := via.R().SetContext(traced)
	if trace := courier.TraceOf(k.ctx); trace != "" {
		r.SetHeader("traceparent", trace)
	}
	if via.RetryCount > 0 {
		r.AddRetryCondition(k.worthAnother)
	}
	resp, err := r.Post(c.cfg.URL)
	k.judge(resp, err) // unless the retry condition has
	c.metrics.outcome(k.api, k.err)
	if k.err != nil {
		return k.err
	}
	return nil
}

// begin waits for the call's turn and builds the form of one attempt. resty calls it before each.
func (k *call) begin(r *resty.Request) error {
	k.judged, k.again, k.err = false, false, nil
	k.conn.Store(false)
	if k.tries++; k.tries > 1 {
		k.c.metrics.retry(k.api)
	}
	if k.c.Open() {
		return k.notSent(ErrBreakerOpen)
	}
	if err := k.takeTurn(); err != nil {
		return k.notSent(err)
	}
	done, err := k.c.breaker.Allow()
	if err != nil {
		<-k.c.slots
		return k.notSent(ErrBreakerOpen)
	}
	k.done = done
	r.Body = bytes.NewReader(k.form())
	k.began = k.c.cfg.Wall()
	return nil
}

// takeTurn waits for the account's rate and for a slot. Calls that only ask stand in line for the line itself: a round
// of polls then never has more than one call before an order that has just been paid.
func (k *call) takeTurn() error {
	if k.patient {
		select {
		case k.c.line <- struct{}{}:
			defer func() { <-k.c.line }()
		case <-k.ctx.Done():
			return k.ctx.Err()
		}
	}
	if err := k.c.limiter.Wait(k.ctx); err != nil {
		if k.ctx.Err() != nil {
			return k.ctx.Err()
		}
		return err
	}
	select {
	case k.c.slots <- struct{}{}:
		return nil
	case <-k.ctx.Done():
		return k.ctx.Err()
	}
}

// notSent records a failure before anything could leave. It is final: whoever asked may ask again.
func (k *call) notSent(err error) error {
	k.err = &courier.CarrierError{Kind: courier.Unsent, API: k.api, Message: err.Error(), Err: err}
	k.judged = true
	return err
}

// form is the body of one attempt (§1.2). It is not pooled: net/http may still be writing it when an early answer has come.
func (k *call) form() []byte {
	if k.sealed == nil {
		scratch := buffers.Get().(*[]byte)
		b64 := k.c.sealer.seal((*scratch)[:0], k.message)
		k.sealed = appendEscaped(make([]byte, 0, len(b64)+len(b64)/8+16), b64)
		*scratch = b64
		release(scratch)
	}
	const between, before = "&timeStamp=", "&logitcsInterface=%7C%244%7C"
	const stamp = "2006-01-02+15%3A04%3A05" // its length only: as a layout, the 3 is an hour
	b := make([]byte, 0, len(k.c.prefix)+len(k.api)+len(between)+len(stamp)+len(before)+len(k.sealed))
	b = append(append(append(b, k.c.prefix...), k.api...), between...)
	now := k.c.cfg.Now().In(beijing)
	b = now.AppendFormat(b, "2006-01-02+15")
	b = now.AppendFormat(append(b, "%3A"...), "04")
	b = now.AppendFormat(append(b, "%3A"...), "05")
	return append(append(b, before...), k.sealed...)
}

// worthAnother is resty's retry condition for calls that only ask.
func (k *call) worthAnother(resp *resty.Response, err error) bool {
	k.judge(resp, err)
	return k.again
}

// judge makes of an attempt's end what the caller will hear, once.
func (k *call) judge(resp *resty.Response, err error) {
	if k.judged {
		return
	}
	k.judged = true
	fault := k.outcome(resp, err)
	if k.done == nil {
		return // resty could not build the request
	}
	k.c.metrics.took(k.api, k.c.cfg.Wall().Sub(k.began))
	k.done(fault)
	k.done = nil
	<-k.c.slots
}

// outcome sets err and again. It gives what is held against EMS, if anything.
func (k *call) outcome(resp *resty.Response, err error) error {
	if resp == nil || (err == nil && resp.RawResponse == nil) {
		k.fail(courier.Unsent, "the request could not be built", nil)
		return nil
	}
	if err != nil {
		return k.broken(err)
	}
	raw := resp.RawResponse
	defer raw.Body.Close()
	buf := buffers.Get().(*[]byte)
	defer release(buf)
	body, err := readAll(*buf, raw)
	*buf = body
	if raw.StatusCode != http.StatusOK {
		return k.fail(courier.Unknown, "HTTP status "+strconv.Itoa(raw.StatusCode), nil)
	}
	if err != nil {
		return k.broken(err)
	}
	return k.answered(body)
}

// answered judges a whole body under HTTP 200.
func (k *call) answered(body []byte) error {
	var a answer
	if err := a.parse(body); err != nil {
		return k.fail(courier.Unknown, err.Error(), err)
	}
	switch a.class() {
	case success:
		if err := k.read(&a); err != nil {
			if ce, ok := errors.AsType[*courier.CarrierError](err); ok {
				ce.API, ce.RetCode, ce.SerialNo = k.api, a.retCode(), a.serialNo()
				k.err = ce
				return nil
			}
			k.fail(courier.Unknown, err.Error(), err)
			k.err.RetCode, k.err.SerialNo = a.retCode(), a.serialNo()
		}
		return nil
	case refusal:
		k.err = &courier.CarrierError{Kind: courier.RefusedByCarrier}
	default: // S…, and codes that nobody has seen (§1.6)
		k.err = &courier.CarrierError{Kind: courier.Unknown}
		k.again = true
	}
	k.err.API, k.err.RetCode, k.err.SerialNo = k.api, a.retCode(), a.serialNo()
	k.err.Message = scrub(text(a.msg), k.private)
	if a.class() == refusal {
		k.err.Err = a.meaning(k.api)
	}
	if a.class() == trouble {
		return k.err
	}
	return nil
}

// fail records a failure that may pass, and gives it back.
func (k *call) fail(kind courier.Kind, message string, cause error) error {
	k.err = &courier.CarrierError{Kind: kind, API: k.api, Message: message, Err: cause}
	k.again = true
	return k.err
}

// broken judges an attempt that ended without a whole answer. Without a connection nothing has left. With one, bytes
// may have, also when the connection was an old one that EMS had closed: then only net/http knows that nothing was
// written, and repeats by itself.
func (k *call) broken(err error) error {
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err
	}
	cause := safeCause(err)
	if errors.Is(err, resty.ErrAutoRedirectDisabled) {
		k.fail(courier.Unknown, "the answer is a redirect", cause)
		k.again = false
		return k.err
	}
	if !k.conn.Load() {
		// No byte of ours nor of an answer stands in a dialling error, so that its text may be shown: it names the
		// host, the address or the certificate.
		k.fail(courier.Unsent, "no connection: "+err.Error(), cause)
	} else {
		k.fail(courier.Unknown, "no answer: "+cause.Error(), cause)
	}
	if k.ctx.Err() != nil {
		k.again = false
		if errors.Is(k.ctx.Err(), context.Canceled) {
			return context.Canceled
		}
	}
	return k.err
}

var errBroken = errors.New("the connection broke")

// safeCause gives an error of a kind known to quote nothing: net/http quotes what it could not read, and an answer may
// repeat a person's data.
func safeCause(err error) error {
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, io.EOF, errTooLarge, resty.ErrAutoRedirectDisabled,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return context.DeadlineExceeded
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return errBroken
}

// buffers hold bodies while they are read; a label's is given back to the collector.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

func release(b *[]byte) {
	if cap(*b) <= 256<<10 {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

var errTooLarge = errors.New("the answer is too large")

// readAll reads a body into buf, which grows. Read to the end, so that the connection can be used again.
func readAll(buf []byte, resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; n > maxAnswer {
		return buf[:0], errTooLarge
	} else if n >= int64(cap(buf)) {
		buf = make([]byte, 0, n+1)
	}
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) > maxAnswer:
			return buf, errTooLarge
		}
	}
}
