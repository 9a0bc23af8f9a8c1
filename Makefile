# Short names for what one does here; the work is in scripts/ and Meson.
.DEFAULT_GOAL := help
.PHONY: help run stop build test lint soak bench dist install clean distclean

PREFIX ?= /usr/local

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | awk -F '\t' '{ printf "make %-10s %s\n", $$1, $$2 }'

run: build ## start Soma with the examples and leave it running
	@scripts/run

stop: ## end what `make run` started
	@scripts/run --stop

build: ## install what is missing, then build build/soma
	@scripts/setup --build
	@scripts/build build

test: ## build, then run every test that takes seconds
	@scripts/setup --test
	@scripts/build build
	@scripts/test

lint: ## what needs no build: layout, spelling, shell scripts
	@scripts/setup --ci
	@scripts/lint

soak: ## build, then run the tests that take minutes
	@scripts/setup --test
	@scripts/build build
	@scripts/test --soak

bench: build ## measure Soma beside its peers, into bench/RESULTS.md
	@bench/run

dist: ## make the archives of dist/: sources, and a tree that runs without installing
	@scripts/setup --build
	@scripts/dist

install: build ## install under PREFIX (/usr/local), below DESTDIR
	@meson configure build --prefix "$(PREFIX)" --buildtype debugoptimized
	@DESTDIR="$(DESTDIR)" meson install -C build

clean: ## remove what was built; keep what setup fetched
	@rm -rf build-clang build-asan build-asan-worker build-tsan build-dist build-fuzz dist
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name deps ! -name venv ! -name bench ! -name onnxruntime -exec rm -rf {} +

distclean: ## remove all that is not in the repository
	@rm -rf build build-clang build-asan build-asan-worker build-tsan build-dist build-fuzz dist
