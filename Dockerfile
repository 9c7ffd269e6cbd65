# One file, two flavours: cuda (default; runs on the CPU too) and cpu.
#   docker build -t llavavit-verify .
#   docker build -t llavavit-verify:cpu --build-arg FLAVOUR=cpu --build-arg TORCH_INDEX=URL-OF-TORCH'S-CPU-WHEELS .
# No USER and no WORKDIR: GitHub demands that a container action starts as root; model code never runs as root.
ARG PYTHON=python:3.11-slim-bookworm
# an image whose root is a folder of wheels to prefer, for builds without an index
ARG WHEELS=scratch

# hadolint ignore=DL3006
FROM ${WHEELS} AS wheels

# hadolint ignore=DL3006
FROM ${PYTHON}
SHELL ["/bin/sh", "-euc"]

RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends 'git=1:2.39.*' \
    && git config --system --add safe.directory '*' \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info

ARG FLAVOUR=cuda
ARG TORCH_INDEX=
# Left out of the packages: headers, stubs, static libraries, test suites, helper programs, compilers and the sources that
# transformers' own models are generated from, which nothing runs.
# hadolint ignore=SC3001
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,source=requirements,target=/requirements \
    python3 -m pip --disable-pip-version-check install --root-user-action=ignore --quiet --no-cache-dir --no-compile \
        --no-deps --require-hashes --find-links /wheels ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
        -r "/requirements/image-${FLAVOUR}.txt" \
    && site=$(python3 -c 'import torch, os; print(os.path.dirname(os.path.dirname(torch.__file__)))') \
    && rm -rf "${site}/torch/include" "${site}/torch/share" "${site}/torch/test" \
        "${site}"/torch/lib/*.a "${site}"/torch/lib/*_test.so "${site}/torch/lib/libbackend_with_compiler.so" \
        "${site}"/torch/testing/_internal/opinfo "${site}"/torch/testing/_internal/generated \
        "${site}"/torch/testing/_internal/common_methods_invocations.py "${site}"/torch/testing/_internal/common_modules.py \
        "${site}"/torch/testing/_internal/common_nn.py "${site}"/torch/testing/_internal/distributed/rpc \
        "${site}"/torch/testing/_internal/distributed/distributed_test.py "${site}/numpy/f2py" \
        "${site}/numpy/_core/include" "${site}/numpy/random/lib" "${site}/numpy/random/_examples" \
        "${site}/sympy/polys/benchmarks" \
        "${site}"/nvidia/*/include "${site}"/nvidia/*/bin "${site}"/nvidia/*/lib/*.a \
        "${site}"/nvidia/*/lib/*.alt.so* "${site}"/nvidia/*/lib/libcusolverMg.so* "${site}"/nvidia/*/lib/*.bc \
    && find "${site}" -name '*.pyi' -delete \
    && find "${site}/transformers/models" -name 'modular_*.py' -delete \
    && find "${site}/torch/bin" -type f ! -name torch_shm_manager -delete \
    && find "${site}" -depth -type d \( -name tests -o -name test -o -name __pycache__ \) \
        \( -path '*/numpy/*' -o -path '*/sympy/*' -o -path '*/mpmath/*' -o -path '*/networkx/*' -o -name __pycache__ \) -exec rm -rf {} + \
    && rm -rf /root/.cache /tmp/*

COPY verify /opt/llavavit-verify/verify
COPY entrypoint /opt/llavavit-verify/entrypoint
# Byte code of just those modules that a run imports: the rest of torch and transformers would add 100 MB of it.
RUN --mount=type=bind,source=scripts/warm.py,target=/warm.py \
    python3 -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'llavavit-verify.pth').write_text('/opt/llavavit-verify\n')" \
    && chmod -R a+rX /opt/llavavit-verify \
    && python3 -P /warm.py && rm -rf /tmp/* /root/.cache

ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LANG=C.UTF-8

LABEL org.opencontainers.image.title="llavavit-verify" \
      org.opencontainers.image.description="Proves that two implementations of a neural network are the same model, and names the line that broke it." \
      org.opencontainers.image.licenses="Apache-2.0"

ENTRYPOINT ["python3", "-I", "-m", "entrypoint"]
