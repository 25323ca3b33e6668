// Command emssim runs the simulated EMS and the simulated SMS gateways as a process of their own, on a clock that may
// run faster than the real one, with a ledger and controls under /sim/ (contract.md, "emssim"). It is for trying emsd
// out and for tests that need a second process; it is no test double for production and sends nothing to anybody.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, code, done := parse(os.Args[1:], os.Stdout, os.Stderr)
	if done {
		return code
	}
	if err := serve(ctx, f, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "emssim:", err)
		return 1
	}
	return 0
}

// clock is real time made faster from a starting point.
type clock struct {
	start time.Time
	speed float64
}

func (c clock) now() time.Time {
	return c.start.Add(time.Duration(float64(time.Since(c.start)) * c.speed))
}

// serve runs until ctx is done, then lets the calls under way finish.
func serve(ctx context.Context, f flags, stdout io.Writer) error {
	k := clock{time.Now(), f.Speed}
	sms := smssim.New(f.gateway(k))
	cfg := f.carrier(k)
	cfg.Messages = func() any { return sms.Messages() }
	cfg.OtherFaults = func(in emssim.Fault) (bool, error) { return smsFault(sms, in) }
	cfg.ClearOther = sms.ClearFaults
	ems := emssim.New(cfg)

	mux := http.NewServeMux()
	mux.Handle("/sim/", ems.ControlHandler())
	mux.HandleFunc("POST /sim/registry", setRegistry(sms))
	mux.HandleFunc("POST /sim/reply", sendReply(sms))
	for _, prefix := range []string{smssim.PrefixAliyun, smssim.PrefixTencent, smssim.PrefixMAS} {
		mux.Handle(prefix, sms)
	}
	mux.Handle("/", ems)

	ln, err := net.Listen("tcp", f.Listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(stdout, "emssim: EMS at http://%s%s, SMS at http://%s%s, %s and %s, ledger at http://%s/sim/ledger, %g simulated seconds a second\n",
		ln.Addr(), emssim.PathOpen, ln.Addr(), smssim.PrefixAliyun, smssim.PrefixTencent, smssim.PrefixMAS, ln.Addr(), f.Speed)

	work, stop := context.WithCancel(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { ems.Run(work) })
	loops.Go(func() { sms.Run(work) })
	defer loops.Wait()
	defer stop()

	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return shutdown(srv)
}

// shutdown waits a little for calls under way; one that hangs on purpose is cut off.
func shutdown(srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return srv.Close()
	}
	return err
}

// setRegistry takes what the vendors of the gateways are to have approved: {"Templates":{"SMS_1":{"State":"refused"}}}.
func setRegistry(sms *smssim.Gateway) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var registry smssim.Registry
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&registry); err != nil {
			http.Error(w, "registry: "+err.Error(), http.StatusBadRequest)
			return
		}
		sms.SetRegistry(registry)
		w.WriteHeader(http.StatusNoContent)
	}
}

// sendReply answers by SMS as a resident would: {"gateway":"aliyun","phone":"13900000001","text":"TD"}.
func sendReply(sms *smssim.Gateway) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Gateway, Phone, Text string }
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			http.Error(w, "reply: "+err.Error(), http.StatusBadRequest)
			return
		}
		switch err := sms.Reply(r.Context(), in.Gateway, in.Phone, in.Text); {
		case errors.Is(err, smssim.ErrReply):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadGateway)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}
}

// smsFault takes faults for APIs named "aliyun:…", "tencent:…" and "mas:…"; without what follows the colon they mean all of
// that gateway.
func smsFault(sms *smssim.Gateway, in emssim.Fault) (bool, error) {
	gateway, action, ok := strings.Cut(in.API, ":")
	if !ok {
		return false, nil
	}
	f := smssim.Fault{Gateway: gateway, API: action, Kind: smssim.FaultKind(in.Kind), Rate: in.Rate, Count: in.Count, Delay: in.Delay, Carried: in.Carried, For: in.For}
	if err := f.Check(); err != nil {
		return true, err
	}
	sms.SetFault(f)
	return true, nil
}
