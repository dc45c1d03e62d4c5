package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
)

// Alert is one whose expression holds: State is firing where it has done so for as long as the rule says, else pending.
type Alert struct {
	State       string            `json:"state"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// evaluationInterval is Prometheus' default.
const evaluationInterval = time.Minute

// alerted evaluates a file of alerts every minute, and returns what is active at the end.
//
// Reading and checking the file, the engine and the templates are Prometheus' own. The package that keeps the state of
// alerts is not used: it brings clients of three clouds along, three hundred packages more, for what are a few lines.
func alerted(file string, until time.Time, stored storage, engine *promql.Engine, parses parser.Parser) ([]Alert, error) {
	read, faults := rulefmt.Parse([]byte(file), false, model.UTF8Validation, parses, slog.Default())
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	found := []Alert{}
	for _, group := range read.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || group.Interval != 0 || rule.KeepFiringFor != 0 {
				return nil, errors.New("a rule that records, an interval and keep_firing_for are not evaluated here")
			}
			active, err := active(rule, until, stored, engine)
			if err != nil {
				return nil, err
			}
			found = append(found, active...)
		}
	}
	return found, nil
}

// active returns the alerts of a rule: since when each has held without a gap decides what it is.
func active(rule rulefmt.Rule, until time.Time, stored storage, engine *promql.Engine) ([]Alert, error) {
	since := map[string]time.Time{}
	var now promql.Vector
	at := time.Unix(0, 0)
	for ; !at.After(until); at = at.Add(evaluationInterval) {
		result, err := instant(stored, engine)(context.Background(), rule.Expr, at)
		if err != nil {
			return nil, err
		}
		held := since
		since, now = map[string]time.Time{}, result
		for _, sample := range result {
			key := sample.Metric.String()
			since[key] = at
			if before, was := held[key]; was {
				since[key] = before
			}
		}
	}
	last := at.Add(-evaluationInterval)
	found := []Alert{}
	for _, sample := range now {
		alert := Alert{"pending", sample.Metric.Map(), map[string]string{}}
		if last.Sub(since[sample.Metric.String()]) >= time.Duration(rule.For) {
			alert.State = "firing"
		}
		delete(alert.Labels, labels.MetricName)
		alert.Labels[labels.AlertName] = rule.Alert
		// As rules/alerting.go has it.
		data := template.AlertTemplateData(sample.Metric.Map(), nil, "", sample)
		expand := func(texts, into map[string]string) error {
			var fault error
			for name, text := range texts {
				text = "{{$labels := .Labels}}{{$value := .Value}}" + text
				into[name], fault = template.NewTemplateExpander(
					context.Background(), text, rule.Alert, data, model.Time(last.UnixMilli()),
					template.QueryFunc(instant(stored, engine)), &url.URL{}, nil,
				).Expand()
				if fault != nil {
					return fault
				}
			}
			return nil
		}
		if err := errors.Join(expand(rule.Labels, alert.Labels), expand(rule.Annotations, alert.Annotations)); err != nil {
			return nil, err
		}
		found = append(found, alert)
	}
	return found, nil
}

func instant(stored storage, engine *promql.Engine) func(context.Context, string, time.Time) (promql.Vector, error) {
	return func(ctx context.Context, expression string, at time.Time) (promql.Vector, error) {
		query, err := engine.NewInstantQuery(ctx, stored, nil, expression, at)
		if err != nil {
			return nil, err
		}
		defer query.Close()
		return query.Exec(ctx).Vector()
	}
}
