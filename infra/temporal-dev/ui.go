package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/temporalio/ui-server/v2/server/api"
	uiauth "github.com/temporalio/ui-server/v2/server/auth"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/csrf"
	uiheaders "github.com/temporalio/ui-server/v2/server/headers"
	"github.com/temporalio/ui-server/v2/server/route"
	"github.com/temporalio/ui-server/v2/ui"
)

// startUI serves Temporal's Web UI as its own server does, behind a guard: the UI passes every request on to the frontend, so a page of
// another site must not reach it, neither directly nor by a name that it pointed to this machine.
func startUI(o *options, frontend string) error {
	provider, err := uiconfig.NewConfigProviderWithRefresh(&uiconfig.Config{
		TemporalGRPCAddress: frontend,
		Host:                o.uiIP,
		Port:                o.uiPort,
		EnableUI:            true,
		HideLogs:            true,
		DisableNewsFetch:    true,
		DefaultNamespace:    "default",
		CORS:                uiconfig.CORS{CookieInsecure: true}, // plain HTTP on this machine
	})
	if err != nil {
		return err
	}
	assets, err := ui.Assets()
	if err != nil {
		return err
	}
	pages, err := fs.Sub(assets, "local")
	if err != nil {
		return err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Pre(onlyFrom(hostsOf(o)))
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.Secure(), csrf.EnsureTokenCookie(false))
	e.Use(middleware.CSRFWithConfig(csrf.MiddlewareConfig(provider, false)))
	e.Pre(route.PublicPath(""))
	route.SetHealthRoute(e)
	route.SetAPIRoutes(e, provider, []api.Middleware{
		uiheaders.WithForwardHeaders([]string{uiauth.AuthorizationExtrasHeader, "Caller-Type"}),
	})
	route.SetAuthRoutes(e, provider)
	route.SetUIRoutes(e, "", pages)
	route.SetRenderRoute(e, "")
	return e.Start(net.JoinHostPort(o.uiIP, fmt.Sprint(o.uiPort)))
}

// hostsOf lists the names under which this machine reaches what listens on --ip and --ui-ip, and those of --allowed-host.
func hostsOf(o *options) []string {
	return append([]string{"localhost", "127.0.0.1", "::1", o.ip, o.uiIP}, o.allowedHosts...)
}

// hostPatterns are these names as the frontend matches them, with any port.
func hostPatterns(o *options) []any {
	var patterns []any
	for _, name := range hostsOf(o) {
		patterns = append(patterns, name, name+":*", "["+name+"]:*")
	}
	return patterns
}

// onlyFrom refuses requests whose Host is none of these names, or that a page of another origin sends.
func onlyFrom(hosts []string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			request := c.Request()
			if !slices.Contains(hosts, hostName(request.Host)) {
				return echo.NewHTTPError(http.StatusForbidden, "this Host is not served; name it with --allowed-host")
			}
			if origin := request.Header.Get(echo.HeaderOrigin); origin != "" {
				if from, err := url.Parse(origin); err != nil || from.Host != request.Host {
					return echo.NewHTTPError(http.StatusForbidden, "requests of other sites are not served")
				}
			}
			return next(c)
		}
	}
}

// hostName is a Host header without its port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
