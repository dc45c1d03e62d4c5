package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	prometheus "github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Scrape is what a target showed, in the text format: nothing where it did not answer, or was Gone.
type Scrape struct {
	Target map[string]string
	At     float64
	Text   string
	Gone   bool
}

// storage has every series of the scrapes, and answers the engine from memory.
type storage []*promql.Series

// scraped reads scrapes as Prometheus does: with the target's labels beside those of the text, with the series up for
// whether it answered, and with a stale marker where a series of the last scrape is not in this one.
func scraped(scrapes []Scrape) (storage, error) {
	var all storage
	known, shown := map[string]*promql.Series{}, map[string]map[string]bool{}
	for _, scrape := range scrapes {
		at, target := milliseconds(scrape.At), labels.FromMap(scrape.Target)
		found, err := parsed(scrape.Text, target)
		if err != nil {
			return nil, fmt.Errorf("the scrape of %s at %v s: %w", target, scrape.At, err)
		}
		if !scrape.Gone {
			answered := 0.0
			if scrape.Text != "" {
				answered = 1
			}
			up := labels.NewBuilder(target).Set(labels.MetricName, "up").Labels()
			found = append(found, promql.Sample{Metric: up, F: answered})
		}
		now := map[string]bool{}
		for _, one := range found {
			key := one.Metric.String()
			if known[key] == nil {
				known[key] = &promql.Series{Metric: one.Metric}
				all = append(all, known[key])
			}
			known[key].Floats = append(known[key].Floats, promql.FPoint{T: at, F: one.F})
			now[key] = true
		}
		for key := range shown[target.String()] {
			if !now[key] {
				stale := promql.FPoint{T: at, F: math.Float64frombits(value.StaleNaN)}
				known[key].Floats = append(known[key].Floats, stale)
			}
		}
		shown[target.String()] = now
	}
	slices.SortFunc(all, func(one, other *promql.Series) int { return labels.Compare(one.Metric, other.Metric) })
	return all, nil
}

func parsed(text string, target labels.Labels) ([]promql.Sample, error) {
	parser, err := textparse.New([]byte(text), "text/plain", nil, textparse.ParserOptions{})
	if err != nil {
		return nil, err
	}
	var found []promql.Sample
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var own labels.Labels
		parser.Labels(&own)
		both := labels.NewBuilder(own)
		target.Range(func(label labels.Label) {
			if own.Has(label.Name) { // honor_labels is false
				both.Set("exported_"+label.Name, own.Get(label.Name))
			}
			both.Set(label.Name, label.Value)
		})
		_, _, number := parser.Series()
		found = append(found, promql.Sample{Metric: both.Labels(), F: number})
	}
}

func (s storage) matching(matchers ...*labels.Matcher) []*promql.Series {
	var found []*promql.Series
	for _, series := range s {
		matches := func(matcher *labels.Matcher) bool { return matcher.Matches(series.Metric.Get(matcher.Name)) }
		if !slices.ContainsFunc(matchers, func(one *labels.Matcher) bool { return !matches(one) }) {
			found = append(found, series)
		}
	}
	return found
}

// Querier is storage.Queryable's. The engine takes of each series what is in its range itself.
func (s storage) Querier(int64, int64) (prometheus.Querier, error) {
	return querier{s}, nil
}

type querier struct{ storage }

func (q querier) Select(_ context.Context, _ bool, _ *prometheus.SelectHints, matchers ...*labels.Matcher) prometheus.SeriesSet {
	return &seriesSet{left: q.matching(matchers...)}
}

func (querier) LabelValues(context.Context, string, *prometheus.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("no expression asks for the values of a label")
}

func (querier) LabelNames(context.Context, *prometheus.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("no expression asks for the names of labels")
}

func (querier) Close() error { return nil }

type seriesSet struct {
	left []*promql.Series
	here *promql.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.here, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() prometheus.Series { return promql.NewStorageSeries(*s.here) }

func (*seriesSet) Err() error { return nil }

func (*seriesSet) Warnings() annotations.Annotations { return nil }
