# cgcli in a container, from dist/, which `make dist` builds:
#
#     docker build --tag cgcli .
#     docker run --rm cgcli gen "print the first ten square numbers"
FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv libstdc++6 libseccomp2
COPY dist /dist
RUN python3 -m venv /opt/cgcli && /opt/cgcli/bin/pip install --find-links /dist cgcli
RUN ln -s /opt/cgcli/bin/cgcli /usr/local/bin/cgcli
# Models and programs; mount a volume here to keep them.
ENV CGCLI_HOME=/home/cgcli
ENTRYPOINT ["cgcli"]
