# The three stages as one image.
#
#   docker build -t nsae .                                with the registry's default PyTorch (for CUDA, on Linux)
#   docker build -t nsae:cpu --build-arg TORCH_INDEX=… .  with another index's, such as PyTorch's own CPU builds
#   docker build --build-arg BASE=…                       on a base of your own; it needs Python 3.11 or newer with venv
#   docker run --rm -v $PWD/data:/nsae/data -v $PWD/runs:/nsae/runs nsae harvest --model demo --tokens 300k --out data/demo.zarr
ARG BASE=python:3.11-slim-bookworm

# What the lock says, and nothing of the code: a change of the code leaves this stage as it is.
FROM ${BASE} AS dependencies
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/nsae
COPY constraints.txt pyproject.toml /src/
RUN /opt/nsae/bin/pip install --quiet ${TORCH_INDEX:+-i ${TORCH_INDEX}} \
      "$(grep '^torch==' /src/constraints.txt)"
RUN /opt/nsae/bin/python -c "import tomllib; \
      project = tomllib.load(open('/src/pyproject.toml', 'rb'))['project']; extras = project['optional-dependencies']; \
      print(*project['dependencies'], *extras['harvest'], *extras['analyze'], *extras['object-store'], sep='\n')" \
      > /src/requirements.txt \
 && /opt/nsae/bin/pip install --quiet --constraint /src/constraints.txt --requirement /src/requirements.txt \
 && /opt/nsae/bin/pip uninstall --quiet --yes pip

# The project as a wheel, laid out as it goes into the environment.
FROM ${BASE} AS project
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --quiet 'setuptools>=77'
COPY . /src
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels /src \
 && /opt/build/bin/pip install --quiet --no-deps --prefix /project /wheels/*.whl \
 && sed -i '1s|^#!.*|#!/opt/nsae/bin/python|' /project/bin/harvest /project/bin/train /project/bin/analyze

FROM ${BASE}
# A base of one's own may have a user 1000 already.
RUN { getent group 1000 > /dev/null || groupadd --gid 1000 nsae; } \
 && { getent passwd 1000 > /dev/null || useradd --uid 1000 --gid 1000 --create-home nsae; } \
 && mkdir -p /nsae/data /nsae/runs /nsae/hub && chown -R 1000:1000 /nsae
COPY --from=dependencies /opt/nsae /opt/nsae
COPY --from=project /project /opt/nsae
ENV PATH=/opt/nsae/bin:$PATH HF_HOME=/nsae/hub PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib \
    TRITON_CACHE_DIR=/tmp/triton TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
# /nsae/data and /nsae/runs are where stores and runs go; the package `data` lies elsewhere, so neither hides it.
WORKDIR /nsae
VOLUME ["/nsae/data", "/nsae/runs", "/nsae/hub"]
USER 1000:1000
CMD ["sh", "-c", "harvest --help && echo && train --help && echo && analyze --help"]
