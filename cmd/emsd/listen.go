package main

import (
	"context"
	"log/slog"
	"time"

	"emsd/courier"

	"github.com/lib/pq"
)

// listen wakes rounds when the database says that there is work, so that a paid permit is ordered at once and not at
// the next tick. After a lost connection everything is woken: what was announced meanwhile is not known.
func listen(ctx context.Context, dsn string, s *scheduler, feedGrew *broadcast, log *slog.Logger) {
	l := pq.NewListener(dsn, time.Second, time.Minute, func(event pq.ListenerEventType, err error) {
		switch event {
		case pq.ListenerEventDisconnected, pq.ListenerEventConnectionAttemptFailed:
			log.Warn("listening for notifications stopped, trying again", "error", err)
		case pq.ListenerEventReconnected:
			s.wakeAll()
			feedGrew.wake()
		}
	})
	defer l.Close()
	for _, channel := range []string{courier.WakeOrders, courier.WakeEvents, courier.WakePublished, courier.WakeMessages, courier.WakePolls, courier.WakeWebhooks, courier.WakeInbox, courier.WakeUploads, courier.WakeCodes} {
		if err := l.Listen(channel); err != nil {
			log.Warn("a notification channel is not listened to, its work waits for the schedule", "channel", channel, "error", err)
		}
	}
	s.wakeAll() // for what was announced before anybody listened
	feedGrew.wake()
	ping := time.NewTicker(30 * time.Second) // finds a connection that died without a word
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
			if err := l.Ping(); err != nil {
				log.Warn("the notification connection does not answer", "error", err)
			}
		case n := <-l.Notify:
			if n != nil { // nil after a reconnect, which has woken everything
				s.wake(n.Channel)
				if n.Channel == courier.WakePublished {
					feedGrew.wake()
				}
			}
		}
	}
}
