package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// Limits of a batch: its size, one line of it, and how many lines share a transaction.
const (
	maxBatch     = 512 << 20
	maxBatchLine = 64 << 10
	batchChunk   = 500
	batchIdle    = 60 * time.Second // the longest wait for the next bytes, either way
)

// batchLine is the answer to one line, in order.
type batchLine struct {
	Line     int          `json:"line"`
	Status   int          `json:"status"`
	Delivery *batchResult `json:"delivery,omitempty"`
	Problem  *web.Problem `json:"problem,omitempty"`
}

type batchResult struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	PermitNo string `json:"permit_no"`
	FeeFen   int64  `json:"fee_fen"`
}

// batch takes NDJSON and answers NDJSON while it reads: a bad line never stops the rest, and what was answered is
// committed. A sender whose connection breaks posts the same lines again; those already taken answer 200.
func (a *API) batch(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	in := bufio.NewReaderSize(r.Body, maxBatchLine)
	out := json.NewEncoder(w)
	for line := 1; ; {
		deadline := time.Now().Add(batchIdle)
		rc.SetReadDeadline(deadline)
		chunk, err := readChunk(in, &line)
		// The last chunk may come with an error: what was read before it is taken all the same.
		if lerr := a.limit.lines(r.Context(), t, len(chunk)); lerr != nil {
			return a.endBatch(out, line, lerr)
		}
		if aerr := a.acceptChunk(r, chunk, t.Name); aerr != nil {
			return a.endBatch(out, line, aerr)
		}
		rc.SetWriteDeadline(time.Now().Add(batchIdle))
		for i := range chunk {
			if werr := out.Encode(chunk[i].answer); werr != nil {
				return nil // the sender is gone; what was taken stays taken
			}
		}
		rc.Flush()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return a.endBatch(out, line, err)
		}
	}
}

// endBatch says in the last line why the rest was not read; the status line went out long ago.
func (a *API) endBatch(out *json.Encoder, line int, err error) error {
	p := web.Describe(err)
	if p.Status >= 500 {
		a.log.Error("batch stopped", "line", line, "error", err)
	}
	out.Encode(batchLine{Line: line, Status: p.Status, Problem: p})
	return nil
}

type batchItem struct {
	intake courier.Intake
	answer batchLine
}

// readChunk reads up to batchChunk lines; empty lines are counted and skipped.
func readChunk(in *bufio.Reader, line *int) ([]batchItem, error) {
	var items []batchItem
	for len(items) < batchChunk {
		text, err := in.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && (err != io.EOF || len(text) == 0) {
			return items, err
		}
		if *line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			items = append(items, readItem(*line, text, tooLong))
		}
		*line++
		if err == io.EOF {
			return items, err
		}
	}
	return items, nil
}

func readItem(line int, text []byte, tooLong bool) batchItem {
	item := batchItem{answer: batchLine{Line: line}}
	if tooLong {
		item.fail(web.NewProblem(http.StatusRequestEntityTooLarge, "line_too_long", "这一行超过 64 KiB，请检查内容"))
		return item
	}
	item.intake.Application, item.intake.Faults = courier.ParseApplication(text)
	return item
}

func (i *batchItem) fail(p *web.Problem) { i.answer.Status, i.answer.Problem = p.Status, p }

// acceptChunk takes the good lines of a chunk in one transaction and fills in every answer.
func (a *API) acceptChunk(r *http.Request, chunk []batchItem, by string) error {
	var intakes []courier.Intake
	var at []int
	for i := range chunk {
		if chunk[i].answer.Problem == nil {
			intakes, at = append(intakes, chunk[i].intake), append(at, i)
		}
	}
	if len(intakes) == 0 {
		return nil
	}
	results, err := a.service.AcceptPaid(r.Context(), intakes, by)
	if err != nil {
		return err
	}
	for j, res := range results {
		item := &chunk[at[j]]
		status, err := outcome(res)
		if err != nil {
			item.fail(web.Describe(err))
			continue
		}
		item.answer.Status = status
		item.answer.Delivery = &batchResult{res.Delivery.ID.String(), string(res.Delivery.Status), res.Delivery.PermitNo, res.Delivery.FeeFen}
	}
	return nil
}
