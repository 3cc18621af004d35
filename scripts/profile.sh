#!/bin/sh
# profile.sh: shares of the processor time of uploads and downloads in percent, for each image, with client and sandbox
# in one process. Lines with a dot are part of the line above without one; "anywhere" is part of all.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go test -c -o "$dir/bench.test" ./bench

share() {
	awk -v label="$1" -v f="$2" 'index($0 " ", f " ") { sub("%", "", $5); if ($5 + 0 > most) most = $5 }
		END { if (most >= 0.5) printf "  %-46s %4.0f\n", label, most }' "$dir/top.txt"
}

for image in dense random sparse; do
	for job in "Upload/$image/inflight=0/verify=written" "Others/download/$image"; do
		echo "$job"
		(cd bench && "$dir/bench.test" -test.run '^$' -test.bench "^Benchmark$(echo "$job" | sed 's|/|$/^|g')\$" \
			-test.benchtime 10x -test.cpuprofile "$dir/cpu.prof" >/dev/null)
		go tool pprof -top -cum -nodecount=100000 -nodefraction=0 -relative_percentages \
			-ignore 'bench\.image|\.destroy' "$dir/bench.test" "$dir/cpu.prof" >"$dir/top.txt" 2>/dev/null
		while IFS='|' read -r label function; do share "$label" "$function"; done <<-END
			client, the chunks' goroutines|worker.(*lanes).carryAll
			. read the image file|image.(*File).ReadChunk
			. is it zero|chunker.IsZero
			. compress|codec.compress
			. receive|transport.(*meteredBody).Read
			. write the local file|image.(*offsetSink).WriteChunk
			. read it back, compare and hash|image.(*offsetSink).ReadBack
			client, send|http.persistConnWriter.ReadFrom
			sandbox|sandbox.(*Server).serve
			. receive and store|sandbox.(*Server).writeDrive
			. answer reads|sandbox.(*Server).readDrive
			anywhere: hash|blake3.(*Hasher).Write
			anywhere: compare|memeqbody
			anywhere: copy in user space|runtime.memmove
		END
	done
done
