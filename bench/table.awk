# Rounds (case, name, requests/s, CPU s per 100k, p50, p99, MB, errors, clean or disturbed) and idle memory (name, bytes) to
# medians, extremes and ratios: a table for people on stdout, tab-separated lines in the file `results`.

function median(list, n,   i, j, t) {
  for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
  return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function column(key, field,   i, n, list) {
  for (i = 1; i <= count[key]; i++) if (all[key] || state[key, i] == "clean") list[++n] = value[key, i, field] + 0
  low = high = list[1]
  for (i = 1; i <= n; i++) { if (list[i] < low) low = list[i]; if (list[i] > high) high = list[i] }
  return median(list, n)
}
function heading(case_name,   part, text) {
  split(case_name, part, ":")
  text = part[2] " connections, " part[3]
  if (part[1] == "http") return "HTTP/1.1, " text
  if (part[1] == "tls") return "HTTP/1.1 within TLS, " text
  if (part[1] == "h2") { sub(/x/, " connections of ", part[2]); return "HTTP/2 within TLS, " part[2] " streams, " part[3] }
  if (part[1] == "hit") return "hits of one stored answer, " text
  if (part[1] == "miss") return "misses, each of another address, " text
  if (part[1] == "pass") return "requests that are only passed on, " text
  if (part[1] == "many") return "hits of any of many stored answers, " text
  if (part[1] == "handshakes") return "a new TLS connection for each request, " text
  return "HTTP/1.1 at " rate " requests/s, half of what the slowest can do, " text
}
function ratio(a, b) { return b ? sprintf("%.2f", a / b) : "-" }

FILENAME == ARGV[ARGC - 1] { idle_bytes[$1] = $2; next }
{
  key = $1 " " $2
  if (!($1 in seen)) { seen[$1]; cases[++c] = $1 }
  i = ++count[key]
  for (f = 3; f <= 8; f++) value[key, i, f] = $f
  state[key, i] = $9; rounds++
  if ($9 == "clean") clean[key]++; else disturbed++
  errors[key] += $8
}
END {
  contestants = split(names, name, " ")
  print "case\tname\trate\trate_min\trate_max\tcpu_s_per_100k\tcpu_min\tcpu_max\tp50_ms\tp99_ms\tmb\terrors\trounds\tclean\tcpu_vs_nginx\trate_vs_nginx\tcpu_vs_best\trate_vs_best" >results
  for (k = 1; k <= c; k++) {
    printf "\n%s\n%-9s %22s %24s %9s %9s %8s %7s %20s %20s\n", heading(cases[k]), "", "requests/s (min-max)", "CPU s/100k (min-max)", "p50 ms", "p99 ms", "MB", "errors", "CPU, rate vs nginx", "vs the better other"
    best_rate = best_cpu = 0
    for (n = 1; n <= contestants; n++) {
      key = cases[k] " " name[n]
      all[key] = clean[key] < 3
      if (all[key]) loud = 1
      rates[n] = column(key, 3); rate_low[n] = low; rate_high[n] = high
      cpus[n] = column(key, 4); cpu_low[n] = low; cpu_high[n] = high
      if (name[n] == "nginx") { base_rate = rates[n]; base_cpu = cpus[n] }
      if (name[n] != "banyan") {
        if (rates[n] > best_rate) best_rate = rates[n]
        if (!best_cpu || cpus[n] < best_cpu) best_cpu = cpus[n]
      }
    }
    for (n = 1; n <= contestants; n++) {
      key = cases[k] " " name[n]
      against = name[n] == "banyan" ? ratio(cpus[n], best_cpu) ", " ratio(rates[n], best_rate) : ""
      p50 = column(key, 5); p99 = column(key, 6); mb = column(key, 7)
      printf "%-9s %22s %24s %9.2f %9.2f %8.1f %7d %20s %20s\n", name[n], sprintf("%d (%d-%d)", rates[n], rate_low[n], rate_high[n]), sprintf("%.2f (%.2f-%.2f)", cpus[n], cpu_low[n], cpu_high[n]), p50, p99, mb, errors[key], ratio(cpus[n], base_cpu) ", " ratio(rates[n], base_rate), against
      printf "%s\t%s\t%.1f\t%.1f\t%.1f\t%.4f\t%.4f\t%.4f\t%.3f\t%.3f\t%.1f\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", cases[k], name[n], rates[n], rate_low[n], rate_high[n], cpus[n], cpu_low[n], cpu_high[n], p50, p99, mb, errors[key], count[key], clean[key], ratio(cpus[n], base_cpu), ratio(rates[n], base_rate), ratio(cpus[n], best_cpu), ratio(rates[n], best_rate) >results
    }
  }
  if (idle > 0) {
    printf "\nmemory per idle connection, %d of them, bytes in the process\n", idle
    for (n = 1; n <= contestants; n++) {
      printf "%-9s %8d %20s\n", name[n], idle_bytes[name[n]], ratio(idle_bytes[name[n]], idle_bytes["nginx"]) " of nginx's"
      printf "idle:%d\t%s\t%d\n", idle, name[n], idle_bytes[name[n]] >results
    }
  }
  printf "\n%d of %d rounds disturbed by other programs on the proxy's cores%s\n", disturbed, rounds, loud ? "; where fewer than 3 were clean, all were kept" : " (left out)"
}
